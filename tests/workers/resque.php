#!/usr/bin/env php
<?php
/*
 * A php-resque style worker in one file, for the tests and the demo.
 *
 * It speaks Resque's Redis protocol, forks a child for every job and treats signals as php-resque does. As in the
 * case that unitq exists for, the text that is sent to the customer is compiled in when the worker starts: the
 * worker reads template.php of its working directory once, and nothing but a restart makes it see a new one.
 *
 *   QUEUE=sms,default             the queues, in order of preference (* = all that exist)
 *   REDIS_BACKEND=127.0.0.1:6379  or redis://host:port/db, or unix:///path/to/redis.sock
 *   PREFIX=resque                 of all keys
 *   INTERVAL=0.1                  seconds to rest when there is no job, may be a fraction
 *   TRACE=FILE                    note there, too, when it is up, when it is told to stop, and both ends of every job;
 *                                 unlike Redis, the file shows what happened in which order to whom
 *   PROCESS_TITLE=1               say in the process title what the worker does. php-resque always does, and PHP
 *                                 then overwrites what /proc/PID/cmdline and /proc/PID/environ show; 0 keeps both
 *
 *   QUIT       finish the job in hand, take no other, exit 0
 *   TERM, INT  kill the child, put its job into the failed list, exit 0
 *   USR1       kill the child, put its job into the failed list, go on
 *   USR2       pause: take no new job
 *   CONT       go on after USR2
 *
 * A job takes `seconds`, and with `while` until the file of that name is gone.
 *
 * For the tests a job leaves a trace at both ends: PREFIX:begun when its child starts on it, PREFIX:sent when the
 * message is out. A job that was begun and never sent is a lost one.
 */

declare(strict_types=1);

const RECONNECT_FOR = 10.0;
const RECONNECT_PAUSE = 0.1;

// Handlers must run while the worker waits for a child or rests, not only between two functions of ours.
pcntl_async_signals(true);

function seconds_now(): float
{
    return hrtime(true) / 1e9;
}

function say(string $line): void
{
    fwrite(STDOUT, $line . "\n");
}

/**
 * One line of JSON at the end of the file that TRACE names: one write with O_APPEND, so that lines of many processes
 * do not mix, and what was written stays written whatever happens to the process.
 *
 * @param array<string, mixed> $what
 */
function note(string $event, array $what = []): void
{
    $file = getenv('TRACE');
    if ($file !== false && $file !== '') {
        $line = ['event' => $event, 'pid' => getmypid(), 'at' => microtime(true)] + $what;
        file_put_contents($file, json_encode($line, JSON_THROW_ON_ERROR) . "\n", FILE_APPEND);
    }
}

/** usleep() ends at the first signal, and KillMode=control-group sends one to the child of the job in hand. */
function rest_until(float $deadline): void
{
    while (($left = $deadline - seconds_now()) > 0) {
        usleep((int) ceil(min($left, 60.0) * 1e6));
    }
}

/** For a job that takes as long as a test wants: until that file is gone. */
function wait_while(?string $file): void
{
    while ($file !== null && file_exists($file)) {
        usleep(20_000);
        clearstatcache();
    }
}

/** Redis that comes back: a worker outlives a restart of its Redis, and may be started before it. */
final class Backend
{
    private ?Redis $redis = null;

    public function __construct(private string $address, private string $prefix)
    {
    }

    /** The keys are prefixed here and nowhere else. */
    public function key(string $name): string
    {
        return $this->prefix . ':' . $name;
    }

    /**
     * Does one command, and again on a new connection if the old one is lost. Should the loss swallow the answer of a
     * command that was carried out, the trace shows a job twice; it never hides one.
     */
    public function __call(string $command, array $arguments): mixed
    {
        $deadline = seconds_now() + RECONNECT_FOR;
        while (true) {
            try {
                $this->redis ??= $this->connection();
                return $this->redis->$command(...$arguments);
            } catch (RedisException $e) {
                $this->redis = null;
                if (seconds_now() >= $deadline) {
                    throw $e;
                }
                usleep((int) (RECONNECT_PAUSE * 1e6));
            }
        }
    }

    /** For the child after a fork: two processes on one connection would read each other's answers. */
    public function forget(): void
    {
        // The object is kept alive, so that nothing is said or closed on the parent's connection.
        static $kept = [];
        $kept[] = $this->redis;
        $this->redis = null;
    }

    private function connection(): Redis
    {
        $redis = new Redis();
        if (str_starts_with($this->address, 'unix://')) {
            $redis->connect(substr($this->address, strlen('unix://')));
            return $redis;
        }
        $url = str_contains($this->address, '://') ? $this->address : 'redis://' . $this->address;
        $parts = parse_url($url);
        if ($parts === false || !isset($parts['host'])) {
            throw new InvalidArgumentException("REDIS_BACKEND={$this->address}: not an address");
        }
        $redis->connect($parts['host'], $parts['port'] ?? 6379, 5.0);
        $database = (int) ltrim($parts['path'] ?? '', '/');
        if ($database !== 0) {
            $redis->select($database);
        }
        return $redis;
    }
}

final class Worker
{
    private bool $shutdown = false;
    private bool $paused = false;
    /** Asked to kill the child: remembered, because the signal may come before fork() has told us whom to kill. */
    private bool $killChild = false;
    private bool $killEveryChild = false;
    private ?int $child = null;
    private int $pid;
    private string $host;
    private string $id;

    /** @param list<string> $queues */
    public function __construct(
        private Backend $redis,
        private array $queues,
        private float $interval,
        private string $text,
        private bool $titled,
    ) {
        $this->pid = getmypid();
        $this->host = gethostname();
        $this->id = "{$this->host}:{$this->pid}:" . implode(',', $queues);
    }

    public function work(): void
    {
        $this->listen();
        $this->title('Starting');
        $this->pruneDeadWorkers();
        $this->redis->sAdd($this->redis->key('workers'), $this->id);
        $this->redis->set($this->redis->key("worker:{$this->id}:started"), date('D M d H:i:s T Y'));
        say("*** Starting worker {$this->id}");
        note('up', ['text' => $this->text]);

        while (!$this->shutdown) {
            $job = $this->paused ? null : $this->reserve();
            if ($job === null) {
                $this->title($this->paused ? 'Paused' : 'Waiting for ' . implode(',', $this->queues));
                // A signal ends the rest early, and is obeyed at once.
                usleep((int) ($this->interval * 1e6));
                continue;
            }
            $this->perform($job['queue'], $job['payload']);
        }

        $this->unregister($this->id);
        say("*** Exiting worker {$this->id}");
    }

    private function listen(): void
    {
        // Not restarted: with SA_RESTART the wait for a child would swallow TERM until the child is gone.
        $on = fn (int $signal, callable $do) => pcntl_signal($signal, $do, false);
        $on(SIGQUIT, fn () => $this->stop('QUIT'));
        $on(SIGTERM, fn () => $this->stopNow('TERM'));
        $on(SIGINT, fn () => $this->stopNow('INT'));
        $on(SIGUSR1, fn () => $this->kill('USR1'));
        $on(SIGUSR2, fn () => $this->pause(true));
        $on(SIGCONT, fn () => $this->pause(false));
    }

    // In a child the handlers below are inherited and have nothing to stop: it finishes its job whatever it is told,
    // and only its parent ends it before that.

    private function stop(string $signal): void
    {
        $this->shutdown = true;
        $this->noteAsParent($signal);
        $this->sayAsParent("*** {$signal}: shutting down when the job in hand is done");
    }

    private function stopNow(string $signal): void
    {
        $this->shutdown = true;
        $this->killEveryChild = true;
        $this->noteAsParent($signal);
        $this->kill($signal);
    }

    private function kill(string $signal): void
    {
        $this->killChild = true;
        if ($this->child !== null) {
            posix_kill($this->child, SIGKILL);
        }
        $this->sayAsParent("*** {$signal}: " . ($this->child === null ? 'no child' : "killing child {$this->child}"));
    }

    private function pause(bool $paused): void
    {
        $this->paused = $paused;
        $this->sayAsParent($paused ? '*** USR2: pausing' : '*** CONT: resuming');
    }

    private function sayAsParent(string $line): void
    {
        if (getmypid() === $this->pid) {
            say($line);
        }
    }

    private function noteAsParent(string $signal): void
    {
        if (getmypid() === $this->pid) {
            note('told', ['signal' => $signal]);
        }
    }

    /** @return array{queue: string, payload: array<string, mixed>}|null */
    private function reserve(): ?array
    {
        foreach ($this->queues === ['*'] ? $this->everyQueue() : $this->queues as $queue) {
            $text = $this->redis->lPop($this->redis->key("queue:$queue"));
            if (!is_string($text)) {
                continue;
            }
            $payload = json_decode($text, true);
            if (is_array($payload)) {
                return ['queue' => $queue, 'payload' => $payload];
            }
            say("*** not a job, dropped from $queue: " . substr($text, 0, 200));
        }
        return null;
    }

    /** @return list<string> */
    private function everyQueue(): array
    {
        $queues = $this->redis->sMembers($this->redis->key('queues'));
        sort($queues);
        return $queues;
    }

    /** @param array<string, mixed> $payload */
    private function perform(string $queue, array $payload): void
    {
        $this->redis->set($this->redis->key("worker:{$this->id}"), json_encode([
            'queue' => $queue,
            'run_at' => date('D M d H:i:s T Y'),
            'payload' => $payload,
        ]));
        $this->killChild = false;

        $child = pcntl_fork();
        if ($child === -1) {
            $this->fail($queue, $payload, 'RuntimeException', 'cannot fork');
        } elseif ($child === 0) {
            $this->title("Processing $queue since " . date('c'));
            leave($this->performInChild($queue, $payload));
        } else {
            $this->child = $child;
            $this->title("Forked $child at " . date('c'));
            $status = $this->waitFor($child);
            $this->child = null;
            if (pcntl_wifsignaled($status)) {
                $signal = pcntl_wtermsig($status);
                $this->fail($queue, $payload, 'Resque_Job_DirtyExit', "Job killed by signal $signal");
            } elseif (pcntl_wexitstatus($status) !== 0) {
                $code = pcntl_wexitstatus($status);
                $this->fail($queue, $payload, 'Resque_Job_DirtyExit', "Job exited with exit code $code");
            }
        }

        $this->redis->del($this->redis->key("worker:{$this->id}"));
        $this->redis->incr($this->redis->key('stat:processed'));
        $this->redis->incr($this->redis->key("stat:processed:{$this->id}"));
    }

    private function waitFor(int $child): int
    {
        // TERM or USR1 may have come between fork() and here, when there was no child to kill yet.
        if ($this->killChild || $this->killEveryChild) {
            posix_kill($child, SIGKILL);
        }
        do {
            // Any signal interrupts the wait; its handler has run by the time we look again.
            $ended = pcntl_waitpid($child, $status);
        } while ($ended === -1 && pcntl_get_last_error() === PCNTL_EINTR);
        if ($ended !== $child) {
            throw new RuntimeException('waitpid: ' . pcntl_strerror(pcntl_get_last_error()));
        }
        return $status;
    }

    /** @param array<string, mixed> $payload */
    private function performInChild(string $queue, array $payload): int
    {
        $this->redis->forget();
        $argument = $payload['args'][0] ?? [];
        $started = microtime(true);
        $begun = seconds_now();
        try {
            if (($payload['class'] ?? null) !== 'SendSms') {
                throw new DomainException('Could not find job class ' . json_encode($payload['class'] ?? null) . '.');
            }
            $this->redis->rPush($this->redis->key('begun'), $this->trace($argument, ['at' => $started]));
            note('begun', ['id' => $argument['id'] ?? '', 'text' => $this->text, 'worker' => $this->pid]);
            rest_until($begun + (float) ($argument['seconds'] ?? 0));
            wait_while($argument['while'] ?? null);
            $this->redis->rPush($this->redis->key('sent'), $this->trace($argument, [
                'started' => $started,
                'at' => microtime(true),
            ]));
            note('done', ['id' => $argument['id'] ?? '', 'text' => $this->text, 'worker' => $this->pid]);
            return 0;
        } catch (Throwable $e) {
            // As in php-resque the child itself reports an exception, and its exit status stays 0.
            $this->fail($queue, $payload, $e::class, $e->getMessage());
            return 0;
        }
    }

    /**
     * @param array<string, mixed> $argument
     * @param array<string, float> $times
     */
    private function trace(array $argument, array $times): string
    {
        return json_encode([
            'id' => $argument['id'] ?? '',
            'text' => $this->text,
            'pid' => $this->pid,
            'child' => getmypid(),
            'revision' => getenv('UNITQ_REVISION') ?: '',
            'instance' => getenv('UNITQ_INSTANCE') ?: '',
            'start' => getenv('INVOCATION_ID') ?: '',
        ] + $times, JSON_THROW_ON_ERROR);
    }

    /** @param array<string, mixed> $payload */
    private function fail(string $queue, array $payload, string $exception, string $error): void
    {
        $this->redis->rPush($this->redis->key('failed'), json_encode([
            'failed_at' => date('D M d H:i:s T Y'),
            'payload' => $payload,
            'exception' => $exception,
            'error' => $error,
            'backtrace' => [],
            'worker' => $this->id,
            'queue' => $queue,
        ]));
        $this->redis->incr($this->redis->key('stat:failed'));
        $this->redis->incr($this->redis->key("stat:failed:{$this->id}"));
        say("*** failed: $error");
    }

    /**
     * As php-resque: what a worker of this host left in Redis when it was killed goes, and the job that it had in
     * hand goes with it, without a word in the failed list.
     */
    private function pruneDeadWorkers(): void
    {
        foreach ($this->redis->sMembers($this->redis->key('workers')) as $id) {
            $parts = explode(':', $id, 3);
            if (count($parts) !== 3 || $parts[0] !== $this->host) {
                continue;
            }
            // EPERM is the answer for a living worker of another user.
            $gone = !posix_kill((int) $parts[1], 0) && posix_get_last_error() === PCNTL_ESRCH;
            // A PID is given out again: a registration with ours that we did not make is a dead one.
            if ($gone || (int) $parts[1] === $this->pid) {
                $this->unregister($id);
                say("*** Pruning dead worker: $id");
            }
        }
    }

    private function unregister(string $id): void
    {
        $this->redis->sRem($this->redis->key('workers'), $id);
        $this->redis->del(
            $this->redis->key("worker:$id"),
            $this->redis->key("worker:$id:started"),
            $this->redis->key("stat:processed:$id"),
            $this->redis->key("stat:failed:$id"),
        );
    }

    private function title(string $status): void
    {
        if ($this->titled) {
            @cli_set_process_title("resque-1.2: $status");
        }
    }
}

/**
 * Ends the process. exit() would take PHP's handlers down a millisecond or two before the end, unblock the signals, and
 * a QUIT in that moment is the death of a child whose job is done: measured as jobs that were sent and are yet in
 * the failed list. What is blocked stays blocked in another program.
 */
function leave(int $status): never
{
    pcntl_sigprocmask(SIG_BLOCK, [SIGQUIT, SIGTERM, SIGINT, SIGUSR1, SIGUSR2]);
    if ($status === 0) {
        @pcntl_exec('/bin/true');
    }
    exit($status);
}

/** An unset and an empty variable mean the same, as in Resque. */
function setting(string $name, string $default): string
{
    $value = getenv($name);
    return $value === false || $value === '' ? $default : $value;
}

$queue = setting('QUEUE', '');
if ($queue === '') {
    fwrite(STDERR, "Set QUEUE env var containing the list of queues to work.\n");
    exit(1);
}
$template = require getcwd() . '/template.php';
if (!is_string($template)) {
    fwrite(STDERR, getcwd() . "/template.php returns no text.\n");
    exit(1);
}

(new Worker(
    new Backend(setting('REDIS_BACKEND', '127.0.0.1:6379'), setting('PREFIX', 'resque')),
    array_map('trim', explode(',', $queue)),
    (float) setting('INTERVAL', '0.1'),
    $template,
    setting('PROCESS_TITLE', '1') !== '0',
))->work();
leave(0);
