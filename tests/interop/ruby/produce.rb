# frozen_string_literal: true

# Pushes jobs with Ruby's client and prints a list of their jids for each order. Its one argument is a JSON list
# of orders: class, args, and optionally count, in (seconds), at (epoch seconds), bulk (one push_bulk), options
# (further fields of the payload).

require_relative "jobs"

def produce(order)
  name = order.fetch("class")
  item = order.fetch("options", {}).merge("class" => Object.const_defined?(name) ? Object.const_get(name) : name)
  item["at"] = Time.now.to_f + order["in"] if order["in"]
  item["at"] = order["at"] if order["at"]
  args, count = order.fetch("args"), order.fetch("count", 1)
  return Sidekiq::Client.push_bulk(item.merge("args" => Array.new(count) { args })) if order["bulk"]
  Array.new(count) { Sidekiq::Client.push(item.merge("args" => args)) }
end

puts JSON.generate(JSON.parse(ARGV.fetch(0)).map { |order| produce(order) })
