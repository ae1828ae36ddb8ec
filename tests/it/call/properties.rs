//! Calls in every order of events, one inside the other: none is lost or counted twice, and neither are its tokens.
//!
//! A script is run for real, and writes down what it does; what has to be recorded follows from that.

use std::collections::BTreeMap;
use std::future::{self, Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;

use async_stream::stream;
use botticelli_obs::testing::Capture;
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{FutureExt, Stream, StreamExt};
use proptest::prelude::*;

const PAIRS: [(&str, &str); 2] = [("gemini", "gemini-2.5-flash"), ("groq", "llama-3.3-70b-versatile")];

/// One call: what happens inside it, and how it ends.
#[derive(Clone, Debug)]
struct Script {
    pair: usize,
    independent: bool,
    around: Around,
    /// Whether a panic inside is caught around it.
    catches: bool,
    steps: Vec<Step>,
    end: End,
}

/// What a call is around.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    /// Code that uses the guard by hand.
    Code,
    Future,
    Function,
    Stream,
}

#[derive(Clone, Debug)]
enum Step {
    Chunk,
    Usage(u64, u64),
    Error(ErrorType),
    /// The task is not ready, and polled again, by another thread maybe.
    Wait,
    Inner(Script),
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Failure(ErrorType),
    Dropped,
}

/// What a call has done, as the script has written it down.
#[derive(Debug)]
struct Done {
    pair: usize,
    around: Around,
    part_of: Option<usize>,
    usage: Option<Usage>,
    error: Option<ErrorType>,
    chunks: usize,
    panicked: bool,
    ended: bool,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Done>>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Done>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write<T>(&self, call: usize, write: impl FnOnce(&mut Done) -> T) -> T {
        write(&mut self.lock()[call])
    }
}

/// A call inside which something happens.
#[derive(Clone, Copy)]
struct Enclosing {
    call: usize,
    catches: bool,
}

/// Where a script runs: its own call last.
#[derive(Clone)]
struct Scene {
    log: Log,
    enclosing: Vec<Enclosing>,
}

impl Scene {
    fn enter(&self, script: &Script) -> (LlmCall, Self) {
        let (provider, model) = PAIRS[script.pair];
        let builder = LlmCall::builder(provider, model);
        let call = if script.independent { builder.without_nesting().start() } else { builder.start() };
        let mut log = self.log.lock();
        let is_whole = |enclosing: &&Enclosing| {
            let done = &log[enclosing.call];
            done.pair == script.pair && done.around != Around::Code
        };
        let whole = self.enclosing.iter().rev().find(is_whole).filter(|_| !script.independent);
        let part_of = whole.map(|enclosing| enclosing.call);
        let Script { pair, around, catches, .. } = *script;
        let done = Done { pair, around, part_of, usage: None, error: None, chunks: 0, panicked: false, ended: false };
        log.push(done);
        let mut enclosing = self.enclosing.clone();
        enclosing.push(Enclosing { call: log.len() - 1, catches });
        drop(log);
        (call, Self { log: self.log.clone(), enclosing })
    }

    fn write<T>(&self, write: impl FnOnce(&mut Done) -> T) -> T {
        self.log.write(self.enclosing[self.enclosing.len() - 1].call, write)
    }

    fn panic(&self) -> ! {
        let caught = self.enclosing.iter().rposition(|enclosing| enclosing.catches).unwrap_or(0);
        for enclosing in &self.enclosing[caught..] {
            self.log.write(enclosing.call, |done| done.panicked = true);
        }
        // Without a message for each.
        resume_unwind(Box::new("on purpose"));
    }

    fn end(&self, end: End) {
        self.write(|done| match end {
            End::Success => done.ended = true,
            End::Failure(error) => (done.ended, done.error) = (true, Some(error)),
            End::Dropped => {}
        });
    }
}

struct Reply(Option<Usage>);

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        self.0
    }
}

#[derive(Debug)]
struct Failed(ErrorType);

impl ClassifyError for Failed {
    fn error_type(&self) -> ErrorType {
        self.0
    }
}

fn run(script: Script, scene: Scene) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        match script.around {
            Around::Code => run_code(script, &scene).await,
            Around::Future => run_future(script, &scene).await,
            Around::Function => run_function(script, &scene),
            Around::Stream => run_stream(script, &scene).await,
        }
    })
}

async fn wait() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

async fn run_code(script: Script, scene: &Scene) {
    let (mut call, inside) = scene.enter(&script);
    for step in script.steps {
        match step {
            Step::Chunk => {
                call.record_chunk();
                inside.write(|done| done.chunks += 1);
            }
            Step::Usage(prompt, completion) => {
                let usage = Usage::new(prompt, completion);
                call.record_usage(usage);
                inside.write(|done| done.usage = Some(usage));
            }
            Step::Error(error) => {
                call.record_error(error);
                inside.write(|done| done.error = Some(error));
            }
            Step::Wait => wait().await,
            Step::Inner(script) => run(script, inside.clone()).await,
            Step::Panic => inside.panic(),
        }
    }
    inside.end(script.end);
    match script.end {
        End::Success => call.finish(),
        End::Failure(error) => call.fail(error),
        End::Dropped => drop(call),
    }
}

/// Does what needs no call at hand; returns the usage that a reply would tell.
async fn run_steps(steps: Vec<Step>, inside: &Scene) -> Option<Usage> {
    let mut usage = None;
    for step in steps {
        match step {
            Step::Chunk | Step::Error(_) => {}
            Step::Usage(prompt, completion) => usage = Some(Usage::new(prompt, completion)),
            Step::Wait => wait().await,
            Step::Inner(script) => run(script, inside.clone()).await,
            Step::Panic => inside.panic(),
        }
    }
    usage
}

/// The reply or error at the end, which is where its usage is told.
fn reply(end: End, usage: Option<Usage>, inside: &Scene) -> Result<Reply, Failed> {
    inside.end(end);
    match end {
        End::Failure(error) => Err(Failed(error)),
        End::Success | End::Dropped => {
            inside.write(|done| done.usage = usage);
            Ok(Reply(usage))
        }
    }
}

/// Polls something until it is ready, or wants to be dropped.
async fn until_dropped<F: Future>(future: F, dropped: &AtomicBool) {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if !dropped.load(Ordering::Relaxed) => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

async fn run_future(script: Script, scene: &Scene) {
    let (call, inside) = scene.enter(&script);
    let dropped = Arc::new(AtomicBool::new(false));
    let wants_drop = Arc::clone(&dropped);
    let observed = call.observe(async move {
        let usage = run_steps(script.steps, &inside).await;
        if let End::Dropped = script.end {
            wants_drop.store(true, Ordering::Relaxed);
            future::pending::<()>().await;
        }
        reply(script.end, usage, &inside)
    });
    if script.catches {
        until_dropped(AssertUnwindSafe(observed).catch_unwind(), &dropped).await;
    } else {
        until_dropped(observed, &dropped).await;
    }
}

fn run_function(script: Script, scene: &Scene) {
    let (call, inside) = scene.enter(&script);
    // A function can't be dropped.
    let end = if let End::Dropped = script.end { End::Success } else { script.end };
    let function = AssertUnwindSafe(|| {
        let _ = call.observe_sync(|| {
            let mut steps = pin!(run_steps(script.steps, &inside));
            loop {
                if let Poll::Ready(usage) = steps.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return reply(end, usage, &inside);
                }
            }
        });
    });
    if !script.catches {
        function.0();
    } else if catch_unwind(function).is_err() {
        // Caught, as the script has it.
    }
}

async fn run_stream(script: Script, scene: &Scene) {
    let (call, inside) = scene.enter(&script);
    let dropped = Arc::new(AtomicBool::new(false));
    let wants_drop = Arc::clone(&dropped);
    let items = stream! {
        for step in script.steps {
            match step {
                Step::Chunk => {
                    inside.write(|done| done.chunks += 1);
                    yield Ok(Reply(None));
                }
                Step::Usage(prompt, completion) => {
                    let usage = Some(Usage::new(prompt, completion));
                    inside.write(|done| (done.chunks, done.usage) = (done.chunks + 1, usage));
                    yield Ok(Reply(usage));
                }
                Step::Error(error) => {
                    inside.write(|done| done.error = Some(error));
                    yield Err(Failed(error));
                }
                Step::Wait => wait().await,
                Step::Inner(script) => run(script, inside.clone()).await,
                Step::Panic => inside.panic(),
            }
        }
        inside.end(script.end);
        match script.end {
            End::Success => {}
            End::Failure(error) => yield Err(Failed(error)),
            End::Dropped => {
                wants_drop.store(true, Ordering::Relaxed);
                future::pending::<()>().await;
            }
        }
    };
    let observed = call.wrap_stream(items);
    if script.catches {
        until_dropped(count(AssertUnwindSafe(observed).catch_unwind()), &dropped).await;
    } else {
        until_dropped(count(observed), &dropped).await;
    }
}

async fn count(items: impl Stream) -> usize {
    let mut items = pin!(items);
    let mut count = 0;
    while items.next().await.is_some() {
        count += 1;
    }
    count
}

/// What has to be on a pair's metrics.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    requests: u64,
    errors: BTreeMap<&'static str, u64>,
    prompt: u64,
    completion: u64,
    usage_missing: u64,
    chunks: usize,
}

/// The usage a call has told, or else the sum of what its parts have.
fn usage(log: &[Done], call: usize) -> Option<Usage> {
    let parts = log.iter().enumerate().filter(|(_, done)| done.part_of == Some(call));
    let parts = parts.filter_map(|(part, _)| usage(log, part));
    log[call].usage.or_else(|| {
        parts.reduce(|sum, part| Usage::new(sum.prompt() + part.prompt(), sum.completion() + part.completion()))
    })
}

fn expected(log: &[Done], pair: usize) -> Expected {
    let mut expected = Expected::default();
    for (call, done) in log.iter().enumerate().filter(|(_, done)| done.pair == pair && done.part_of.is_none()) {
        let cut_off = if done.panicked { ErrorType::Panic } else { ErrorType::Cancelled };
        let error = match done.error {
            _ if done.panicked && done.around != Around::Code => Some(ErrorType::Panic),
            None if !done.ended => Some(cut_off),
            error => error,
        };
        let usage = usage(log, call);
        expected.requests += 1;
        expected.prompt += usage.map_or(0, |usage| usage.prompt());
        expected.completion += usage.map_or(0, |usage| usage.completion());
        expected.chunks += done.chunks;
        match error {
            Some(error) => *expected.errors.entry(error.as_str()).or_default() += 1,
            None => expected.usage_missing += u64::from(usage.is_none()),
        }
    }
    expected
}

fn recorded(capture: &Capture, pair: usize) -> Expected {
    let llm = capture.llm(PAIRS[pair].0, PAIRS[pair].1);
    assert_eq!(llm.durations().len() as u64, llm.requests().get(), "a duration for each request");
    assert_eq!(llm.in_flight(), 0.0, "nothing is in flight any more");
    assert_eq!(llm.tokens().get(), llm.prompt_tokens().get() + llm.completion_tokens().get());
    assert!(llm.errors().get() <= llm.requests().get());
    let errors = ErrorType::ALL.iter().map(|&error| (error.as_str(), llm.errors_of(error).get()));
    Expected {
        requests: llm.requests().get(),
        errors: errors.filter(|(_, count)| *count > 0).collect(),
        prompt: llm.prompt_tokens().get(),
        completion: llm.completion_tokens().get(),
        usage_missing: llm.usage_missing().get(),
        chunks: llm.first_chunks().len() + llm.chunk_gaps().len(),
    }
}

fn any_error() -> impl Strategy<Value = ErrorType> {
    prop::sample::select(&[ErrorType::RateLimit, ErrorType::Decode, ErrorType::Overloaded][..])
}

fn any_script() -> impl Strategy<Value = Script> {
    let step = || {
        prop_oneof![
            4 => Just(Step::Chunk),
            4 => (0_u64..1000, 0_u64..1000).prop_map(|(prompt, completion)| Step::Usage(prompt, completion)),
            1 => any_error().prop_map(Step::Error),
            4 => Just(Step::Wait),
            1 => Just(Step::Panic),
        ]
    };
    let script = |steps: BoxedStrategy<Vec<Step>>| {
        let around =
            prop::sample::select(&[Around::Code, Around::Future, Around::Future, Around::Function, Around::Stream][..]);
        let end = prop_oneof![
            3 => Just(End::Success),
            1 => any_error().prop_map(End::Failure),
            1 => Just(End::Dropped),
        ];
        (0..PAIRS.len(), prop::bool::weighted(0.2), around, any::<bool>(), steps, end).prop_map(
            |(pair, independent, around, catches, steps, end)| {
                // A guard used by hand is in nothing that could catch.
                Script { pair, independent, around, catches: catches && around != Around::Code, steps, end }
            },
        )
    };
    let leaf = script(prop::collection::vec(step(), 0..5).boxed()).boxed();
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let step = prop_oneof![2 => step(), 1 => inner.prop_map(Step::Inner)];
        script(prop::collection::vec(step, 0..6).boxed()).boxed()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_is_recorded_once_with_its_tokens(script in any_script(), polls in 0_usize..12) {
        let (capture, log) = (Capture::new(), Log::default());
        let mut running = run(script, Scene { log: log.clone(), enclosing: Vec::new() });
        for poll in 0..polls {
            let mut poll_once = || capture.run(|| running.as_mut().poll(&mut Context::from_waker(Waker::noop())));
            // A task moves between threads.
            let polled = if poll % 2 == 0 {
                catch_unwind(AssertUnwindSafe(poll_once))
            } else {
                thread::scope(|scope| scope.spawn(&mut poll_once).join())
            };
            if !matches!(polled, Ok(Poll::Pending)) {
                break;
            }
        }
        capture.run(|| drop(running));

        let log = log.lock();
        for pair in 0..PAIRS.len() {
            prop_assert_eq!(recorded(&capture, pair), expected(&log, pair), "{:#?}\n{}", log, capture);
        }
        let calls = log.iter().filter(|done| done.part_of.is_none()).count();
        prop_assert_eq!(capture.spans().len(), calls, "{}", capture);
    }
}
