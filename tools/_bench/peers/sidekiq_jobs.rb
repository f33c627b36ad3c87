# Loaded by a Sidekiq worker, or a client: ruby sidekiq_jobs.rb one|fill NUMBER. Prints the seconds as JSON.
require "sidekiq"
require "json"

MARKS = File.open(File.join(ENV.fetch("BENCH_MARKS"), "begin"), "ab")
MARKS.sync = true

quiet = ENV["BENCH_LOG"] ? Logger::INFO : Logger::WARN
(Sidekiq.respond_to?(:default_configuration) ? Sidekiq.default_configuration.logger : Sidekiq.logger).level = quiet

class MarkJob
  include Sidekiq::Job
  def perform(number)
    MARKS.syswrite([number, Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)].pack("q<q<"))
  end
end

if $PROGRAM_NAME == __FILE__
  action, number = ARGV
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  if action == "one"
    number.to_i.times { |n| MarkJob.perform_async(n) }
  else
    number.to_i.times.each_slice(1000) { |part| MarkJob.perform_bulk(part.map { |n| [n] }) }
  end
  puts JSON.generate(seconds: Process.clock_gettime(Process::CLOCK_MONOTONIC) - began)
end
