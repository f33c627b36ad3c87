# frozen_string_literal: true

# The job classes of ../jobs.py in Ruby. INTEROP_POLL is the poll interval in seconds; setting it also spares
# the poller's first ten seconds of waiting. With INTEROP_STAMP, jobs tell who moved them to their queue.

require_relative "common"

class PromotedBy
  def call(_klass, job, _queue, _pool)
    job["promoted_by"] = "ruby:#{::Process.pid}"
    yield
  end
end

Sidekiq.configure_server do |config|
  settings = Interop.since?("7.0") ? config : Sidekiq.options
  settings[:poll_interval_average] = Float(ENV["INTEROP_POLL"]) if ENV["INTEROP_POLL"]
  config.client_middleware { |chain| chain.add PromotedBy } if ENV["INTEROP_STAMP"]
  config.death_handlers << ->(job, ex) { Interop.report("death", job["class"], job["jid"], error: ex.class.name) }
end

class EchoJob
  include Sidekiq::Job

  def perform(*args)
    Interop.report("perform", "EchoJob", jid, args: args)
  end
end

class FailAlwaysJob
  include Sidekiq::Job
  sidekiq_options retry: 2, backtrace: true
  sidekiq_retry_in { 60 }
  sidekiq_retries_exhausted do |msg, ex|
    Interop.report("exhausted", msg["class"], msg["jid"], error: ex.class.name)
    nil
  end

  def perform(message = "boom")
    Interop.report("perform", "FailAlwaysJob", jid)
    raise ArgumentError, message
  end
end

# Fails where it runs first, in Ruby or in Python.
class FailOnceJob
  include Sidekiq::Job
  sidekiq_options retry: 5, backtrace: 3, tags: %w[interop once]
  sidekiq_retry_in { 60 }

  def perform(*args)
    first = Sidekiq.redis { |c| c.call("SET", "interop:once:#{jid}", "1", "NX", "EX", "3600") }
    Interop.report("perform", "FailOnceJob", jid, args: args, first: !first.nil?)
    raise "first try fails" if first
  end
end

if Interop.since?("7.3")
  # Reports each item of a range.
  class WalkJob
    include Sidekiq::IterableJob

    def build_enumerator(n, _pause_s, cursor:)
      Interop.report("from", "WalkJob", jid, cursor: cursor)
      array_enumerator((0...n).to_a, cursor: cursor)
    end

    def on_start = Interop.report("start", "WalkJob", jid)

    def on_resume = Interop.report("resume", "WalkJob", jid)

    def on_cancel = Interop.report("cancel", "WalkJob", jid)

    def on_complete = Interop.report("complete", "WalkJob", jid)

    def each_iteration(item, _n, pause_s)
      Interop.report("item", "WalkJob", jid, item: item)
      sleep pause_s
    end
  end

  # Its cursor is a list of text and a number.
  class PairsJob < WalkJob
    def build_enumerator(n, _pause_s, cursor:)
      Interop.report("from", "PairsJob", jid, cursor: cursor)
      ((cursor ? cursor[1] : 0)...n).map { |number| [number, ["é", number]] }.each
    end
  end
end
