# frozen_string_literal: true

# Acts through Ruby's Data API and prints as JSON what it acted upon: jids or process identities.

require_relative "common"
require "sidekiq/api"

SETS = {"retry" => Sidekiq::RetrySet, "schedule" => Sidekiq::ScheduledSet, "dead" => Sidekiq::DeadSet}.freeze

def each_entry(set, jids)
  jids.each { |jid| yield(SETS.fetch(set).new.find_job(jid) || abort("Ruby finds no #{jid} in #{set}")) }
end

def each_process(identities)
  found = Sidekiq::ProcessSet.new(false).select { |process| identities.include?(process.identity) }
  abort "Ruby finds only #{found.map(&:identity)} of #{identities}" if found.size < identities.size
  found.each { |process| yield process }
  identities
end

COMMANDS = {
  "retry" => ->(set, *jids) { each_entry(set, jids, &:retry) },
  "enqueue" => ->(set, *jids) { each_entry(set, jids, &:add_to_queue) },
  "kill" => ->(set, *jids) { each_entry(set, jids, &:kill) },
  "delete" => ->(set, *jids) { each_entry(set, jids, &:delete) },
  "reschedule" => ->(set, epoch, *jids) { each_entry(set, jids) { |entry| entry.reschedule(Time.at(Float(epoch))) } },
  "quiet" => ->(*identities) { each_process(identities, &:quiet!) },
  "stop" => ->(*identities) { each_process(identities, &:stop!) },
  "cancel" => ->(*jids) { jids.map { |jid| Sidekiq::Client.new.cancel!(jid) } },
  # Texts that are no jobs, as JSON strings of Base64.
  "push_raw" => ->(queue, *texts) {
    texts.each { |text| Sidekiq.redis { |c| c.call("LPUSH", "queue:#{queue}", text.unpack1("m")) } }
  }
}.freeze

name, *rest = ARGV
abort "usage: ruby control.rb #{COMMANDS.keys.join("|")} ARG ..." unless COMMANDS.key?(name)
puts JSON.generate(COMMANDS[name].call(*rest))
