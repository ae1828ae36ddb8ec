//! Rendered pages, shared by those who ask at the same time.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::Render;
use super::connections::SERVING;
use crate::snapshot::Format;
use crate::worker::mark_own_thread;

/// How many pages are kept while peers read them, one of them only for a kind that has none.
const MAX_PAGES: usize = 4;

/// How long a request waits for one of them to be read, before it gets the newest of its kind again.
const PATIENCE: Duration = Duration::from_millis(250);

/// Pages smaller than this are not worth compressing.
const COMPRESSED_FROM: usize = 1024;

/// What a page is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) format: Format,
    /// Whether the peer takes it compressed.
    pub(super) gzip: bool,
}

/// One rendered page.
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    kind: Kind,
    readers: Arc<Readers>,
}

/// What is known of those who read pages.
#[derive(Default)]
struct Readers {
    /// Told when a page is not read any more.
    done: Notify,
    /// Whether there are too many pages for a new one.
    are_late: AtomicBool,
}

impl Page {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether whoever asks for this kind can have it.
    fn is_for(&self, kind: Kind) -> bool {
        self.kind.format == kind.format && (kind.gzip || !self.kind.gzip)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.readers.are_late.store(false, Ordering::Relaxed);
        self.readers.done.notify_one();
    }
}

/// Where pages are asked for.
pub(super) struct Pages {
    requests: mpsc::Sender<Request>,
    readers: Arc<Readers>,
}

struct Request {
    kind: Kind,
    reply: oneshot::Sender<Arc<Page>>,
}

impl Pages {
    /// Starts to render what is asked for.
    pub(super) fn start(runtime: &Handle, render: Render) -> Self {
        let (requests, arriving) = mpsc::channel(SERVING);
        let readers = Arc::new(Readers::default());
        let renderer =
            Renderer { render, arriving, waiting: Vec::new(), alive: Vec::new(), readers: Arc::clone(&readers) };
        runtime.spawn(renderer.run());
        Self { requests, readers }
    }

    /// Returns a page that holds everything recorded before this call, or the newest one if too many are still being read.
    /// `None` when it could not be rendered.
    pub(super) async fn get(&self, kind: Kind) -> Option<Arc<Page>> {
        let (reply, page) = oneshot::channel();
        self.requests.send(Request { kind, reply }).await.ok()?;
        page.await.ok()
    }

    /// Whether new pages wait for old ones to be read.
    pub(super) fn wait(&self) -> bool {
        self.readers.are_late.load(Ordering::Relaxed)
    }
}

struct Renderer {
    render: Render,
    arriving: mpsc::Receiver<Request>,
    waiting: Vec<Request>,
    /// Pages that are still being read, the newest last.
    alive: Vec<Weak<Page>>,
    readers: Arc<Readers>,
}

impl Renderer {
    async fn run(mut self) {
        while let Some(kind) = self.next().await {
            let earlier = self.earlier(kind).await;
            let requests = self.take(kind);
            let page = match earlier {
                Some(page) => Some(page),
                None if requests.is_empty() => continue,
                None => self.render(kind).await,
            };
            if let Some(page) = page {
                for request in requests {
                    // A peer may be gone by now.
                    let _ = request.reply.send(Arc::clone(&page));
                }
            }
        }
    }

    /// Waits for a request, and returns what the first one is for.
    async fn next(&mut self) -> Option<Kind> {
        if self.waiting.is_empty() {
            let first = self.arriving.recv().await?;
            self.waiting.push(first);
        }
        self.waiting.first().map(|request| request.kind)
    }

    /// Takes all requests for this kind that have arrived by now.
    fn take(&mut self, kind: Kind) -> Vec<Request> {
        while let Ok(request) = self.arriving.try_recv() {
            self.waiting.push(request);
        }
        let open = std::mem::take(&mut self.waiting).into_iter().filter(|request| !request.reply.is_closed());
        let (taken, left) = open.partition(|request| request.kind == kind);
        self.waiting = left;
        taken
    }

    /// Returns the newest page of this kind if another one would be too many, also after a while.
    async fn earlier(&mut self, kind: Kind) -> Option<Arc<Page>> {
        let readers = Arc::clone(&self.readers);
        let room = async {
            while self.is_full(kind) {
                readers.done.notified().await;
            }
        };
        if timeout(PATIENCE, room).await.is_ok() {
            return None;
        }
        let earlier = self.alive.iter().rev().filter_map(Weak::upgrade).find(|page| page.is_for(kind));
        self.readers.are_late.store(earlier.is_some(), Ordering::Relaxed);
        earlier
    }

    fn is_full(&mut self, kind: Kind) -> bool {
        self.alive.retain(|page| page.strong_count() > 0);
        let has_earlier = self.alive.iter().filter_map(Weak::upgrade).any(|page| page.is_for(kind));
        has_earlier && self.alive.len() + 1 >= MAX_PAGES
    }

    async fn render(&mut self, kind: Kind) -> Option<Arc<Page>> {
        let (render, readers) = (Arc::clone(&self.render), Arc::clone(&self.readers));
        let (done, rendered) = oneshot::channel();
        let work = move || {
            mark_own_thread();
            let _ = done.send(Arc::new(page(kind, &render, readers)));
        };
        // Unlike tokio's blocking threads this is no panic where the system has no thread left.
        let thread = thread::Builder::new().name("botticelli-obs-page".to_owned()).spawn(work);
        let page = match thread {
            Ok(_) => rendered.await.ok()?,
            Err(_) => Arc::new(page(kind, &self.render, Arc::clone(&self.readers))),
        };
        self.alive.push(Arc::downgrade(&page));
        Some(page)
    }
}

fn page(kind: Kind, render: &Render, readers: Arc<Readers>) -> Page {
    let plain = render(kind.format);
    let compressed = if kind.gzip && plain.len() >= COMPRESSED_FROM { compress(&plain) } else { None };
    let kind = Kind { gzip: compressed.is_some(), ..kind };
    Page { bytes: compressed.unwrap_or(plain), kind, readers }
}

fn compress(page: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page).ok()?;
    encoder.finish().ok()
}
