//! Programs of others at the door for TLS: redis-cli, openssl.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Engine, skip};
use crate::tls::{path, start};

#[test]
fn redis_cli_and_openssl_speak_to_it() {
    let secured = start(Engine::Epoll, &[]);
    let (port, ca) = (secured.address.port().to_string(), path(&secured.authority.file));
    let run = |program: &str, args: &[&str], input: &str| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            skip("tls_clients::redis_cli_and_openssl_speak_to_it", &format!("{program} is not there"));
            return None;
        };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let cli = ["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", ca, "set", "k", "v"];
    if let Some(said) = run("redis-cli", &cli, "") {
        assert_eq!(said, "OK\n");
    }
    let connect = format!("127.0.0.1:{port}");
    let openssl = ["s_client", "-connect", &connect, "-CAfile", ca, "-verify_return_error", "-ign_eof", "-quiet"];
    if let Some(said) = run("openssl", &openssl, "GET k\r\nQUIT\r\n") {
        assert!(said.contains("$1\r\nv\r\n+OK\r\n"), "{said}");
        let old = ["s_client", "-connect", &connect, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
        let said = run("openssl", &old, "").unwrap();
        assert!(said.contains("alert"), "{said}");
    }
}
