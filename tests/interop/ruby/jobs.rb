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
