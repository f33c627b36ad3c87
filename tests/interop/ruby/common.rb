# frozen_string_literal: true

# What differs between Sidekiq 6 and 8 for the scripts beside this one.

require "json"
require "sidekiq"

module Interop
  VERSION = Gem::Version.new(Sidekiq::VERSION)
  LIST = "interop:echo"

  def self.since?(version) = VERSION >= Gem::Version.new(version)

  def self.logger = Sidekiq.respond_to?(:default_configuration) ? Sidekiq.default_configuration.logger : Sidekiq.logger

  # One line of JSON per event, so that a test reads one list whoever ran the job.
  def self.report(event, klass, jid, **more)
    line = JSON.generate({lang: "ruby", event: event, class: klass, jid: jid}.merge(more))
    Sidekiq.redis { |c| c.call("RPUSH", LIST, line) }
  end
end

Interop.logger.level = Logger::WARN unless defined?(Sidekiq::CLI)
