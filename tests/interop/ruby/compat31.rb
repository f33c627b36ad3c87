# frozen_string_literal: true

# Lets Sidekiq 8, which asks for Ruby 3.2, load on Ruby 3.1 for these tests: RUBYOPT="-r/path/to/compat31.rb".
# On newer Rubies it only requires a few standard libraries. Not for production.

%w[set io/wait socket date tmpdir logger securerandom].each { |lib| require lib }

if Gem::Version.new(RUBY_VERSION) < Gem::Version.new("3.2")
  # Data.define, new in 3.2; a keyword Struct is near enough for Sidekiq's two uses.
  Object.send(:remove_const, :Data) if Object.const_defined?(:Data, false) && !::Data.respond_to?(:define)
  class Data
    def self.define(*fields, &blk)
      Struct.new(*fields, keyword_init: true).tap { |c| c.class_eval(&blk) if blk }
    end
  end

  class Exception
    def detailed_message(highlight: false, **)
      text = message.to_s
      text.empty? ? self.class.name.to_s : "#{text} (#{self.class.name})"
    end
  end

  class Logger
    unless method_defined?(:with_level)
      def with_level(severity)
        before = level
        self.level = severity
        yield
      ensure
        self.level = before
      end
    end
  end

  # sidekiq.rb compares RUBY_VERSION while it loads, so it is loaded here under a changed one.
  real, verbose = RUBY_VERSION, $VERBOSE
  $VERBOSE = nil
  Object.const_set(:RUBY_VERSION, "3.2.0")
  begin
    require "sidekiq"
  ensure
    Object.const_set(:RUBY_VERSION, real)
    $VERBOSE = verbose
  end
end
