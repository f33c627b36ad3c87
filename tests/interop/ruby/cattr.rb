# frozen_string_literal: true

# Reads a payload, lets Sidekiq's own CurrentAttributes middleware load it, and prints what a job would see, and what the
# middleware saves for the next job. Needs ActiveJob.

require_relative "common"
require "json"
require "logger"
begin
  require "active_support"
  require "active_job"
  require "active_job/arguments"
rescue LoadError => error
  puts JSON.generate("missing" => error.message)
  exit
end
require "sidekiq/middleware/current_attributes"

class Current < ActiveSupport::CurrentAttributes
  attribute :tenant, :user_id, :nested, :nothing
end

fields = {"cattr" => "Current"}
seen = saved = nil
Sidekiq::CurrentAttributes::Load.new(fields).call(nil, JSON.parse($stdin.read), "default") do
  seen = Current.attributes.transform_keys(&:to_s)
  saved = {}
  Sidekiq::CurrentAttributes::Save.new(fields).call("J", saved, "default", nil) {}
end
puts JSON.generate("seen" => seen, "saved" => saved)
