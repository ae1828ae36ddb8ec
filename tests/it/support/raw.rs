//! Servers that send bytes as they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What a server does with a connection.
pub type Serve = fn(TcpStream) -> io::Result<()>;

/// Starts a server, which ends with the process.
pub fn start(serve: Serve) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client));
        }
    });
    addr
}

/// Answers by HTTP with a body that has no end.
pub fn http_without_end(mut client: TcpStream) -> io::Result<()> {
    let _ = client.read(&mut [0; 64 * 1024])?;
    client.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\r\n")?;
    loop {
        client.write_all(&[0; 64 * 1024])?;
    }
}

/// Answers each request of gRPC with a refusal whose details are no base64, among its headers.
pub fn grpc_with_wrong_details(client: TcpStream) -> io::Result<()> {
    answer_grpc(client, |stream| {
        let headers = [&[(":status", "200"), ("content-type", "application/grpc")], REFUSAL].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &encoded(&headers))
    })
}

/// The same among its trailers.
pub fn grpc_with_wrong_details_at_the_end(client: TcpStream) -> io::Result<()> {
    answer_grpc(client, |stream| {
        let headers = encoded(&[(":status", "200"), ("content-type", "application/grpc")]);
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &encoded(REFUSAL));
        [frame(HEADERS, END_HEADERS, stream, &headers), trailers].concat()
    })
}

const REFUSAL: &[(&str, &str)] = &[("grpc-status", "8"), ("grpc-status-details-bin", "!!!!")];

// Of HTTP/2 (RFC 9113): types of frames, and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn answer_grpc(mut client: TcpStream, answer: impl Fn(u32) -> Vec<u8>) -> io::Result<()> {
    client.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()])?;
    client.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => client.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            DATA if flags & END_STREAM != 0 => client.write_all(&answer(u32::from_be_bytes(stream)))?,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes headers as literals, without an index (RFC 7541).
fn encoded(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}
