# frozen_string_literal: true

# Prints as one JSON object what Ruby's Data API sees in Redis; exit code 1 if it cannot read a section.
#   ruby inspect.rb [SECTION ...]      (none: all of them)

require_relative "common"
require "sidekiq/api"

if Interop.since?("7.0")
  require "sidekiq/deploy"
  require "sidekiq/metrics/query"
end

# 6.4 looks for running jobs under the key that 6.5 renamed.
WORK_IN_THE_OLD_PLACE = !Interop.since?("6.5")

# Every call is one that Ruby's web pages make for such an entry.
def entry(e)
  h = {
    jid: e.jid, class: e.klass, display_class: e.display_class, args: e.args, display_args: e.display_args,
    queue: e.queue, tags: e.tags, latency: e.latency, item: e.item,
    created_at: e.created_at&.to_f, enqueued_at: e.enqueued_at&.to_f, error_backtrace: e.error_backtrace
  }
  %i[failed_at retried_at].each { |name| h[name] = e.public_send(name)&.to_f if e.respond_to?(name) }
  h.merge!(score: e.score, at: e.at.to_f, error: e.error?) if e.is_a?(Sidekiq::SortedEntry)
  if e.respond_to?(:iterable_state) && e.jid && (s = e.iterable_state)
    h[:iterable_state] = {executions: s.executions, runtime: s.runtime, cursor: s.cursor, cancelled: s.cancelled}
  end
  h
end

def process(p)
  keys = %w[hostname started_at pid tag concurrency queues labels identity version busy beat quiet rss rtt_us]
  h = keys.to_h { |key| [key, p[key]] }.merge(stopping: p.stopping?)
  %i[queues weights capsules version embedded?].each { |name| h["api_#{name}"] = p.public_send(name) if p.respond_to?(name) }
  h
end

def work(identity, tid, w)
  h = {process: identity, tid: tid}
  return h.merge(queue: w["queue"], run_at: w["run_at"], jid: w["payload"]["jid"], args: w["payload"]["args"]) if w.is_a?(Hash)
  h.merge(queue: w.queue, run_at: w.run_at.to_f, jid: w.job.jid, args: w.job.args)
end

SECTIONS = {
  "stats" => -> {
    s = Sidekiq::Stats.new
    names = %i[processed failed scheduled_size retry_size dead_size enqueued processes_size workers_size]
    names.push(:default_queue_latency, :queues).to_h { |name| [name, s.public_send(name)] }
  },
  "history" => -> {
    h = Sidekiq::Stats::History.new(2)
    {processed: h.processed, failed: h.failed}
  },
  "queues" => -> { Sidekiq::Queue.all.to_h { |q| [q.name, {size: q.size, latency: q.latency, jobs: q.map { |e| entry(e) }}] } },
  "retry" => -> { Sidekiq::RetrySet.new.map { |e| entry(e) } },
  "schedule" => -> { Sidekiq::ScheduledSet.new.map { |e| entry(e) } },
  "dead" => -> { Sidekiq::DeadSet.new.map { |e| entry(e) } },
  "processes" => -> {
    ps = Sidekiq::ProcessSet.new
    {size: ps.size, total_concurrency: ps.total_concurrency, total_rss: ps.total_rss, leader: ps.leader, list: ps.map { |p| process(p) }}
  },
  "work" => -> {
    if WORK_IN_THE_OLD_PLACE
      Sidekiq.redis do |c|
        c.smembers("processes").each { |id| c.call("COPY", "#{id}:work", "#{id}:workers", "REPLACE") }
      end
    end
    ws = Sidekiq::WorkSet.new
    list = ws.map { |identity, tid, w| work(identity, tid, w) }
    Sidekiq.redis { |c| c.smembers("processes").each { |id| c.del("#{id}:workers") } } if WORK_IN_THE_OLD_PLACE
    {size: ws.size, list: list}
  }
}

if Sidekiq::Stats.method_defined?(:queue_summaries)
  SECTIONS["queue_summaries"] = -> {
    Sidekiq::Stats.new.queue_summaries.to_h { |q| [q.name, {size: q.size, latency: q.latency, paused: q.paused?}] }
  }
end

if Interop.since?("8.0")
  SECTIONS.merge!(
    "metrics" => -> {
      result = Sidekiq::Metrics::Query.new.top_jobs(minutes: 60)
      result.job_results.to_h { |klass, r| [klass, {totals: r.totals, series: r.series}] }
    },
    "deploys" => -> { Sidekiq::Deploy.new(Sidekiq.default_configuration.redis_pool).fetch },
    "profiles" => -> { Sidekiq::ProfileSet.new.map { |p| {key: p.key, jid: p.jid, type: p.type} } }
  )
end

# What is not UTF-8 cannot be printed as JSON, but Ruby did read it.
def printable(value)
  case value
  when String then value.dup.force_encoding("UTF-8").scrub
  when Array then value.map { |v| printable(v) }
  when Hash then value.to_h { |k, v| [printable(k), printable(v)] }
  else value
  end
end

names = ARGV.empty? ? SECTIONS.keys : ARGV
unread = false
out = names.to_h do |name|
  [name, printable(SECTIONS.fetch(name).call)]
rescue => e # a section that Ruby cannot read is a finding, not a reason to lose the others
  unread = true
  [name, {error: "#{e.class}: #{e.message}", at: e.backtrace.first(3)}]
end
puts JSON.generate(out)
exit 1 if unread
