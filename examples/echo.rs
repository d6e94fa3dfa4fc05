//! The limit: a server on the same engine that parses nothing and keeps nothing. To each piece it receives it answers
//! one bulk string of 64 bytes, which is right for GETs at pipeline 1. What a cache costs beyond this is its own.
//!
//! `cargo run --release --example echo -- PORT`

use std::net::TcpListener;
use std::rc::Rc;

use kv_cache::config::limits::{IO_BUFFER_BYTES, REGISTERED_BUFFERS_MAX};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::buf::fixed::{FixedBuf, FixedBufPool};
use tokio_uring::net::TcpStream;

fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: echo PORT");
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_single_issuer();
    let mut builder = tokio_uring::builder();
    builder.entries(1024).uring_builder(&ring);
    tokio_uring::Runtime::new(&builder)?.block_on(async {
        let pool = FixedBufPool::new((0..REGISTERED_BUFFERS_MAX).map(|_| vec![0; IO_BUFFER_BYTES]));
        pool.register()?;
        let listener = tokio_uring::net::TcpListener::from_std(TcpListener::bind(("127.0.0.1", port))?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio_uring::spawn(echo(Rc::new(stream), pool.clone()));
        }
    })
}

/// The reply to one piece and the wait for the next are armed in the same turn, as in the server.
async fn echo(stream: Rc<TcpStream>, pool: FixedBufPool<Vec<u8>>) -> std::io::Result<()> {
    let mut reply = pool.next(IO_BUFFER_BYTES).await;
    reply[..71].copy_from_slice(format!("$64\r\n{}\r\n", "v".repeat(64)).as_bytes());
    let mut input: FixedBuf = pool.next(IO_BUFFER_BYTES).await;
    let mut reply = Some(reply);
    let (mut received, returned) = stream.read_fixed(input).await;
    input = returned;
    while received? > 0 {
        let sending = reply.take().expect("the last reply has been sent").slice(..71);
        let ((sent, back), (next, returned)) = tokio::join!(stream.write_fixed(sending), stream.read_fixed(input));
        sent?;
        (received, input, reply) = (next, returned, Some(back.into_inner()));
    }
    Ok(())
}
