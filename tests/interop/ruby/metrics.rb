# frozen_string_literal: true

# What Ruby's metrics, deploys and profiles say: `ruby metrics.rb query EPOCH CLASS`, `mark LABEL EPOCH`,
# `deploys`, `profiles`.

require_relative "common"
require "base64"
require "sidekiq/api"
require "sidekiq/deploy"
require "sidekiq/metrics/query"

POOL = Sidekiq.default_configuration.redis_pool

def result(found)
  jobs = found.job_results.transform_values do |job|
    {totals: job.totals, series: job.series, hist: job.hist, avg: job.total_avg, series_avg: job.series_avg}
  end
  {jobs: jobs, marks: found.marks.map { |mark| [mark.time.utc.iso8601, mark.label, mark.bucket] }}
end

COMMANDS = {
  "query" => ->(epoch, klass) {
    query = Sidekiq::Metrics::Query.new(now: Time.at(Float(epoch)))
    {
      minutes: result(query.top_jobs(minutes: 60)), hours: result(query.top_jobs(hours: 72)),
      job: result(query.for_job(klass, minutes: 60)), job_hours: result(query.for_job(klass, hours: 24))
    }
  },
  "mark" => ->(label, epoch) { !!Sidekiq::Deploy.new(POOL).mark!(label: label, at: Time.at(Float(epoch))) },
  "deploys" => -> { Sidekiq::Deploy.new(POOL).fetch },
  "profiles" => -> {
    Sidekiq::ProfileSet.new.map do |p|
      {
        key: p.key, token: p.token, jid: p.jid, type: p.type, started_at: p.started_at.to_i, size: p.size,
        elapsed: p.elapsed, data: Base64.strict_encode64(p.data)
      }
    end
  }
}.freeze

name, *rest = ARGV
puts JSON.generate(COMMANDS.fetch(name).call(*rest))
