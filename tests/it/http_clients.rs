//! Programs of others at the door for HTTP: curl, Python, Node, promtool.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::client::patterned;
use crate::harness::{self, Engine, skip};
use crate::http::{Client, start};

/// Runs a program of others against the server, if it is there.
fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(_) => {
            skip(test, &format!("{program} is not there"));
            return None;
        }
    };
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program} {args:?}: {stdout}{stderr}");
    Some(stdout)
}

#[test]
fn curl_puts_and_gets() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let url = |path: &str| format!("http://{address}{path}");
    let path = harness::temporary("curl");
    // Large enough for curl to wait for 100.
    std::fs::write(&path, patterned(3 << 20, 1)).unwrap();
    let file = path.to_str().unwrap();
    let test = "http_clients::curl_puts_and_gets";
    let code = ["-s", "-S", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}"];
    let curl = |args: &[&str]| run(test, "curl", args);
    let Some(created) = curl(&[&code[..], &["-T", file, &url("/kv/file")]].concat()) else { return };
    assert_eq!(created, "201");
    let back = harness::temporary("curl-back");
    curl(&["-s", "-S", "-m", "30", "-o", back.to_str().unwrap(), &url("/kv/file")]);
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(curl(&["-s", "-m", "30", "-X", "PUT", "-d", "hello", &url("/kv/k?ttl=60")]).unwrap(), "");
    assert_eq!(curl(&["-s", "-m", "30", &url("/kv/k"), "-r", "1-3", &url("/kv/k")]).unwrap(), "ellell");
    assert_eq!(curl(&["-s", "-m", "30", "-X", "POST", &url("/kv/n?by=5"), &url("/kv/n?by=5")]).unwrap(), "510");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-X", "PUT", "-d", "chunks", &url("/kv/c")];
    assert_eq!(curl(&[&code[..], &chunked].concat()).unwrap(), "201");
    assert_eq!(curl(&["-s", "-m", "30", &url("/kv/c")]).unwrap(), "chunks");
    assert_eq!(curl(&[&code[..], &["-X", "DELETE", &url("/kv/c")]].concat()).unwrap(), "204");
}

#[test]
fn pythons_http_client_keeps_a_connection() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let script = format!(
        "import http.client\n\
         c = http.client.HTTPConnection('127.0.0.1', {}, timeout=30)\n\
         def ask(*args, **more):\n\
         \x20   c.request(*args, **more); r = c.getresponse(); return r.status, r.read(), r.getheader('ETag')\n\
         value = bytes(range(256)) * 1000\n\
         status, _, tag = ask('PUT', '/kv/k', body=value); assert status == 201, status\n\
         sock = c.sock\n\
         assert ask('GET', '/kv/k') == (200, value, tag)\n\
         assert ask('GET', '/kv/k', headers={{'If-None-Match': tag}}) == (304, b'', tag)\n\
         assert ask('HEAD', '/kv/k') == (200, b'', tag)\n\
         assert ask('PUT', '/kv/c', body=iter([b'a', b'bc']), encode_chunked=True,\n\
         \x20          headers={{'Transfer-Encoding': 'chunked'}})[0] == 201\n\
         assert ask('GET', '/kv/c')[1] == b'abc'\n\
         assert ask('POST', '/kv/n')[1] == b'1'\n\
         assert ask('DELETE', '/kv/k')[0] == 204\n\
         assert ask('GET', '/kv/k')[0] == 404\n\
         assert c.sock is sock\n",
        address.port()
    );
    run("http_clients::pythons_http_client_keeps_a_connection", "python3", &["-c", &script]);
}

#[test]
fn nodes_fetch_puts_and_gets() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let script = format!(
        "const url = path => 'http://{address}/kv/' + path;\n\
         const check = (got, want) => {{ if (got !== want) throw new Error(got + ' instead of ' + want) }};\n\
         (async () => {{\n\
           const value = 'v'.repeat(100000);\n\
           check((await fetch(url('k'), {{ method: 'PUT', body: value }})).status, 201);\n\
           const got = await fetch(url('k'));\n\
           check(await got.text(), value);\n\
           check((await fetch(url('k'), {{ headers: {{ 'If-None-Match': got.headers.get('etag') }} }})).status, 304);\n\
           const stream = new Blob(['stream', 'ed']).stream();\n\
           check((await fetch(url('s'), {{ method: 'PUT', body: stream, duplex: 'half' }})).status, 201);\n\
           check(await (await fetch(url('s'))).text(), 'streamed');\n\
           check(await (await fetch(url('n'), {{ method: 'POST' }})).text(), '1');\n\
           const all = await Promise.all([...Array(50).keys()].map(() => fetch(url('n'), {{ method: 'POST' }})));\n\
           await Promise.all(all.map(reply => reply.text()));\n\
           check(await (await fetch(url('n'))).text(), '51');\n\
         }})().catch(error => {{ console.error(error); process.exit(1) }});"
    );
    run("http_clients::nodes_fetch_puts_and_gets", "node", &["-e", &script]);
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    let (server, address) = start(Engine::Epoll, &[]);
    server.client().check("SET k v", "+OK\r\n");
    server.client().check_error("NOPE", "ERR");
    let page = Client::new(address).ask("GET", "/metrics", "", b"").body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut checking) = promtool.spawn() else {
        return skip("http_clients::promtool_finds_nothing_to_say_of_the_metrics", "promtool is not there");
    };
    checking.stdin.take().unwrap().write_all(&page).unwrap();
    let output = checking.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
