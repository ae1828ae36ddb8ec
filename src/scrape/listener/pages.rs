//! Renders pages and shares each among concurrent requests.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
use super::connections::SLOTS;
use crate::snapshot::Format;
use crate::worker::mark_own_thread;

/// The maximum number of pages in memory. One is reserved for an uncompressed page of each format: every request can be answered.
const MAX_PAGES: usize = 4;

/// How long a request waits for room for a new page before it gets an earlier one.
const ROOM_TIMEOUT: Duration = Duration::from_millis(250);

/// The size from which a page is compressed, in bytes.
const COMPRESSED_FROM: usize = 1024;

/// The format and encoding of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) format: Format,
    /// In a request: whether the peer accepts gzip. In a page: whether it is compressed.
    pub(super) gzip: bool,
}

/// One rendered page.
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    kind: Kind,
    room: Arc<Room>,
}

/// The room for new pages.
#[derive(Default)]
struct Room {
    /// Notified when a page is dropped.
    freed: Notify,
    /// Whether a request found no room for a new page and none was dropped since.
    is_full: AtomicBool,
}

impl Page {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the page answers a request for this kind.
    fn is_for(&self, kind: Kind) -> bool {
        self.kind.format == kind.format && (kind.gzip || !self.kind.gzip)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.room.is_full.store(false, Ordering::Relaxed);
        self.room.freed.notify_one();
    }
}

/// A handle of the task that renders pages.
pub(super) struct Pages {
    requests: mpsc::Sender<Request>,
    room: Arc<Room>,
}

struct Request {
    kind: Kind,
    reply: oneshot::Sender<Arc<Page>>,
}

impl Pages {
    /// Starts the task.
    pub(super) fn start(runtime: &Handle, render: Render) -> Self {
        let (requests, arriving) = mpsc::channel(SLOTS);
        let room = Arc::new(Room::default());
        let renderer = Renderer { render, arriving, waiting: Vec::new(), alive: Vec::new(), room: Arc::clone(&room) };
        runtime.spawn(renderer.run());
        Self { requests, room }
    }

    /// Returns a page that contains everything recorded before this call, or the newest page if there is no room for another one.
    /// Returns `None` if rendering panics.
    pub(super) async fn get(&self, kind: Kind) -> Option<Arc<Page>> {
        let (reply, page) = oneshot::channel();
        self.requests.send(Request { kind, reply }).await.ok()?;
        page.await.ok()
    }

    /// Whether no further page can be rendered until pages are read.
    pub(super) fn is_full(&self) -> bool {
        self.room.is_full.load(Ordering::Relaxed)
    }
}

struct Renderer {
    render: Render,
    arriving: mpsc::Receiver<Request>,
    waiting: Vec<Request>,
    /// The pages in memory, the newest last.
    alive: Vec<Weak<Page>>,
    room: Arc<Room>,
}

impl Renderer {
    async fn run(mut self) {
        while let Some(kind) = self.next().await {
            let source = self.source(kind).await;
            let requests = self.take(kind);
            let page = match source {
                Source::Earlier(page) => Some(page),
                Source::New(_) if requests.is_empty() => continue,
                Source::New(kind) => self.render(kind).await,
            };
            if let Some(page) = page {
                for request in requests {
                    // The connection may be closed by now.
                    let _ = request.reply.send(Arc::clone(&page));
                }
            }
        }
    }

    /// Waits for a request and returns the kind of the first one.
    async fn next(&mut self) -> Option<Kind> {
        if self.waiting.is_empty() {
            let first = self.arriving.recv().await?;
            self.waiting.push(first);
        }
        self.waiting.first().map(|request| request.kind)
    }

    /// Removes all requests for this kind that have arrived by now.
    fn take(&mut self, kind: Kind) -> Vec<Request> {
        while let Ok(request) = self.arriving.try_recv() {
            self.waiting.push(request);
        }
        let open = std::mem::take(&mut self.waiting).into_iter().filter(|request| !request.reply.is_closed());
        let (taken, left) = open.partition(|request| request.kind == kind);
        self.waiting = left;
        taken
    }

    /// Chooses the page for this kind. Without room for a new one after a while, this is the newest that there is, or else an
    /// uncompressed page, for which there is always room.
    async fn source(&mut self, kind: Kind) -> Source {
        let room = Arc::clone(&self.room);
        let freed = async {
            while !self.has_room(kind) {
                room.freed.notified().await;
            }
        };
        if timeout(ROOM_TIMEOUT, freed).await.is_ok() {
            return Source::New(kind);
        }
        self.room.is_full.store(true, Ordering::Relaxed);
        let earlier = self.alive.iter().rev().filter_map(Weak::upgrade).find(|page| page.is_for(kind));
        earlier.map_or(Source::New(Kind { gzip: false, ..kind }), Source::Earlier)
    }

    /// Whether a page of this kind can be rendered. The pages in memory and the reserved ones never exceed [`MAX_PAGES`].
    fn has_room(&mut self, kind: Kind) -> bool {
        self.alive.retain(|page| page.strong_count() > 0);
        let kinds: Vec<Kind> = self.alive.iter().filter_map(Weak::upgrade).map(|page| page.kind).collect();
        let is_reserved = |format| !kinds.contains(&Kind { format, gzip: false });
        let reserved = [Format::Text, Format::OpenMetrics].into_iter().filter(|format| is_reserved(*format)).count();
        let uses_reserved = !kind.gzip && is_reserved(kind.format);
        uses_reserved || kinds.len() + reserved < MAX_PAGES
    }

    async fn render(&mut self, kind: Kind) -> Option<Arc<Page>> {
        let (render, room) = (Arc::clone(&self.render), Arc::clone(&self.room));
        let (done, rendered) = oneshot::channel();
        let work = move || {
            mark_own_thread();
            let _ = done.send(page(kind, &render, room));
        };
        // Unlike a blocking task of tokio, this does not panic when the system can't create a thread.
        let thread = thread::Builder::new().name("botticelli-obs-page".to_owned()).spawn(work);
        let page = match thread {
            Ok(_) => rendered.await.ok().flatten()?,
            Err(_) => page(kind, &self.render, Arc::clone(&self.room))?,
        };
        let page = Arc::new(page);
        self.alive.push(Arc::downgrade(&page));
        Some(page)
    }
}

/// The page that answers a request.
enum Source {
    Earlier(Arc<Page>),
    New(Kind),
}

/// Renders a page. Returns `None` if that panics: without a thread of its own, the panic would end the task of the renderer.
fn page(kind: Kind, render: &Render, room: Arc<Room>) -> Option<Page> {
    let plain = catch_unwind(AssertUnwindSafe(|| render(kind.format))).ok()?;
    let compressed = if kind.gzip && plain.len() >= COMPRESSED_FROM { compress(&plain) } else { None };
    let kind = Kind { gzip: compressed.is_some(), ..kind };
    Some(Page { bytes: compressed.unwrap_or(plain), kind, room })
}

fn compress(page: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [
        Kind { format: Format::Text, gzip: true },
        Kind { format: Format::Text, gzip: false },
        Kind { format: Format::OpenMetrics, gzip: true },
        Kind { format: Format::OpenMetrics, gzip: false },
    ];

    fn pages(runtime: &Handle) -> Pages {
        Pages::start(runtime, Arc::new(|_| vec![b'#'; 2 * COMPRESSED_FROM]))
    }

    #[test]
    fn unread_pages_of_all_kinds_are_four_at_most() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        for first in KINDS {
            let pages = pages(runtime.handle());
            let mut held: Vec<Arc<Page>> = Vec::new();
            for kind in [first; 4].into_iter().chain(KINDS) {
                let page = runtime.block_on(pages.get(kind)).expect("it is rendered");
                assert!(page.is_for(kind));
                if !held.iter().any(|other| Arc::ptr_eq(other, &page)) {
                    held.push(page);
                }
                assert!(held.len() <= MAX_PAGES, "{kind:?} after {first:?}");
            }
            assert!(pages.is_full());
            drop(held);
            assert!(!pages.is_full());
        }
    }

    #[test]
    fn panic_while_rendering_gives_no_page() {
        let render: Render = Arc::new(|_| panic!("it can't be rendered"));
        assert!(page(KINDS[0], &render, Arc::default()).is_none());
    }
}
