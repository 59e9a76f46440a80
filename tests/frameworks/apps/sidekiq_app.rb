# `sidekiq -r ./sidekiq_app.rb …` works; `ruby sidekiq_app.rb SECONDS FIRST COUNT` puts jobs into $PROOF_QUEUE.
require "sidekiq"

QUEUE = ENV.fetch("PROOF_QUEUE")
REDIS = { url: ENV.fetch("PROOF_REDIS") }
Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server { |config| config.redis = REDIS }

def note(word, number)
  environment = %w[INVOCATION_ID UNITQ_INSTANCE].map { |name| ENV.fetch(name, "-") }
  line = [word, number, *environment, Process.pid, ENV.fetch("UNITQ_REVISION", "-"), Time.now.to_f].join(" ")
  File.open(ENV.fetch("PROOF_LINES"), "a") { |file| file.syswrite("#{line}\n") }
end

class Job
  include Sidekiq::Worker
  sidekiq_options queue: QUEUE

  def perform(number, seconds)
    note("begun", number)
    sleep(seconds)
    note("done", number)
  end
end

if $PROGRAM_NAME == __FILE__
  seconds, first, count = ARGV
  count.to_i.times { |each| Job.perform_async((first.to_i + each).to_s, seconds.to_f) }
end
