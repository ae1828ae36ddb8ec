use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connections::SLOTS;
use super::{Access, Render, Token, bind, start};
use crate::worker::Worker;

const LIMIT: Duration = Duration::from_secs(30);

const ASK: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const ASK_ONCE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn serve(token: Option<Token>, render: Render) -> (Worker, SocketAddr) {
    let worker = Worker::start("listener-test").expect("a thread");
    let listener = bind("127.0.0.1:0").expect("a port");
    let access = Access {
        allowed: Vec::new(),
        token,
        #[cfg(feature = "console")]
        console: None,
    };
    let addr = start(&worker, listener, access, render).expect("it serves");
    (worker, addr)
}

fn connect(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}

/// Reads until the listener closes.
fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Waits until the listener closes without an answer; with half a request unread this is a reset.
fn closes(mut stream: TcpStream) {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert!(answer.is_empty()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Renders pages of this size that begin with their number, and counts them.
fn numbered(size: usize) -> (Render, Arc<AtomicUsize>) {
    let rendered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rendered);
    let render: Render = Arc::new(move |_| {
        let mut page = format!("page {}\n", count.fetch_add(1, Ordering::SeqCst) + 1).into_bytes();
        page.resize(size.max(page.len()), b'#');
        page
    });
    (render, rendered)
}

/// Returns the first line of such a page, which is its number.
fn number(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").and_then(|(_, page)| page.lines().next()).expect("a page")
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_path_except_health_requires_the_token() {
    let (_worker, addr) = serve(Some("s3cret-token".parse().expect("a token")), numbered(0).0);
    let ask = |path: &str, authorization: &str| {
        read(connect(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n")))
    };
    for (path, authorization) in [
        ("/metrics", ""),
        ("/metrics", "Authorization: Bearer wrong\r\n"),
        ("/metrics", "Authorization: Basic s3cret\r\n"),
        ("/", ""),
        ("/nothing", ""),
    ] {
        let answer = ask(path, authorization);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path} {authorization}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{answer}");
        assert!(!answer.contains("page "), "{answer}");
    }
    assert_eq!(number(&ask("/metrics", "Authorization: Bearer s3cret-token\r\n")), "page 1");
    assert!(ask("/nothing", "Authorization: Bearer s3cret-token\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("/health", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn scrape_gets_a_page_whose_rendering_began_after_it_asked() {
    let (go, gate) = mpsc::channel();
    let (gate, (pages, rendered)) = (Mutex::new(gate), numbered(0));
    let render: Render = Arc::new(move |format| {
        let page = pages(format);
        gate.lock().expect("no panic").recv_timeout(LIMIT).expect("the test goes on");
        page
    });
    let (_worker, addr) = serve(None, render);
    let first = connect(addr, ASK_ONCE);
    wait_for("the first is rendered", || rendered.load(Ordering::SeqCst) == 1);
    let others = [(); 8].map(|()| connect(addr, ASK_ONCE));
    // Other paths are answered while a page is rendered: this connection is newer than those that wait for the page.
    let health = read(connect(addr, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert!(health.ends_with("\r\n\r\nok"), "{health}");
    (0..2).for_each(|_| go.send(()).expect("it is rendered"));
    assert_eq!(number(&read(first)), "page 1");
    for other in others {
        assert_eq!(number(&read(other)), "page 2");
    }
    assert_eq!(rendered.load(Ordering::SeqCst), 2);
}

#[test]
fn peers_that_never_read_share_the_newest_page_until_they_are_closed() {
    let (render, rendered) = numbered(16 * 1024 * 1024);
    let (_worker, addr) = serve(None, render);
    let silent: Vec<TcpStream> = (1..=3)
        .map(|number| {
            let stream = connect(addr, ASK);
            wait_for("it is rendered", || rendered.load(Ordering::SeqCst) == number);
            stream
        })
        .collect();
    assert_eq!(number(&read(connect(addr, ASK_ONCE))), "page 3");
    wait_for("those that never read are closed", || number(&read(connect(addr, ASK_ONCE))) == "page 4");
    drop(silent);
}

/// Reads 640 KB/s until the listener closes.
fn read_slowly(mut stream: TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(1..) = stream.read(&mut bytes) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn slow_readers_give_their_slots_to_waiting_requests() {
    let (worker, addr) = serve(None, numbered(32 * 1024 * 1024).0);
    let readers = [(); SLOTS].map(|()| {
        let mut stream = connect(addr, ASK_ONCE);
        stream.read_exact(&mut [0]).expect("it has a slot");
        stream
    });
    std::thread::scope(|scope| {
        readers.into_iter().for_each(|stream| drop(scope.spawn(move || read_slowly(stream))));
        for _ in 0..3 {
            let stream = connect(addr, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
            assert!(read(stream).ends_with("\r\n\r\nok"));
        }
        drop(worker);
    });
}

#[test]
fn refused_peers_are_closed() {
    let (_worker, addr) = serve(Some("s3cret-token".parse().expect("a token")), numbered(0).0);
    let answer = read(connect(addr, ASK));
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn half_closed_peer_gets_its_page() {
    let (_worker, addr) = serve(None, numbered(4 * 1024 * 1024).0);
    let stream = connect(addr, ASK_ONCE);
    stream.shutdown(Shutdown::Write).expect("it is open");
    let answer = read(stream);
    assert_eq!(number(&answer), "page 1");
    assert!(answer.len() > 4 * 1024 * 1024);

    let stream = connect(addr, "GET /metr");
    stream.shutdown(Shutdown::Write).expect("it is open");
    closes(stream);
}

#[test]
fn idle_connections_are_closed_for_new_ones() {
    let (_worker, addr) = serve(None, numbered(0).0);
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(addr, ASK);
        let mut start = [0; 8];
        stream.read_exact(&mut start).expect("an answer");
        assert_eq!(&start, b"HTTP/1.1");
        kept.push(stream);
    }
}

#[test]
fn head_that_is_too_large_is_refused() {
    let (_worker, addr) = serve(None, numbered(0).0);
    let answer = read(connect(addr, &format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(8192 - 24))));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn failed_rendering_is_an_error_of_one_request() {
    let (pages, rendered) = numbered(0);
    let count = Arc::clone(&rendered);
    let render: Render = Arc::new(move |format| {
        let page = pages(format);
        assert!(count.load(Ordering::SeqCst) > 1, "the first page can't be rendered");
        page
    });
    let (_worker, addr) = serve(None, render);
    assert!(read(connect(addr, ASK_ONCE)).starts_with("HTTP/1.1 500 "));
    assert_eq!(number(&read(connect(addr, ASK_ONCE))), "page 2");
}

#[test]
fn dropped_worker_closes_connections() {
    let (worker, addr) = serve(None, numbered(0).0);
    let mut served = connect(addr, ASK);
    let mut start = [0; 8];
    served.read_exact(&mut start).expect("an answer");
    let waiting = connect(addr, "GET /metr");
    drop(worker);
    assert_eq!(&start, b"HTTP/1.1");
    read(served);
    closes(waiting);
    assert!(TcpStream::connect(addr).is_err());
}
