//! Peers that speak something else to this port: browsers and proxies get one line of help in their own language.
//! Nothing they send runs.

use crate::message::request::Arguments;

/// A request line of HTTP, or a header of one.
pub fn is_http(args: Arguments) -> bool {
    let name = args.get(0);
    args.len() == 3 && args.get(2).starts_with(b"HTTP/")
        || name.eq_ignore_ascii_case(b"POST")
        || name.eq_ignore_ascii_case(b"Host:")
}

pub const HTTP_REPLY: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 122\r\n\
    Connection: close\r\n\r\nThis is the port of kv-cache for RESP: try redis-cli. HTTP is spoken on --http-port, which is 7172 unless it was \
    changed.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_text() {
        let (head, body) = HTTP_REPLY.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
