//! What is read and written here is what `proto/kv_cache.proto` says: each of its fields, in messages that another
//! implementation makes of the file.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};

use super::answer;
use super::message::{self, Command, Condition, Request};
use crate::message::output::Output;
use crate::store::shard::Value;

fn schema() -> DescriptorPool {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["kv_cache.proto"], [folder]).expect("the file is well-formed");
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

fn descriptor(name: &str) -> MessageDescriptor {
    schema().get_message_by_name(&format!("kv_cache.v1.{name}")).unwrap()
}

/// As prost reads it here, in what the file makes of a text.
fn request(text: &str) -> Request {
    let message = DynamicMessage::parse_text_format(descriptor("Request"), text).unwrap();
    Request::decode(&message.encode_to_vec()[..]).unwrap()
}

/// Every kind of request with every field.
const REQUESTS: [&str; 9] = [
    r#"id: 18446744073709551615 get { key: "k" }"#,
    r#"set { key: "k" value: "v" ttl_ms: 5 condition: IF_EQUAL expected: "e" keep_ttl: true }"#,
    r#"delete { key: "k" }"#,
    r#"increment { key: "k" by: -9223372036854775808 }"#,
    r#"touch { key: "k" ttl_ms: 7 }"#,
    r#"multi_get { keys: "a" keys: "" keys: "c" }"#,
    r#"ping {}"#,
    r#"auth { password: "p" user: "u" }"#,
    r#"batch { requests { id: 1 ping {} } requests { id: 2 get { key: "k" } } }"#,
];

#[test]
fn requests_are_read_as_the_file_has_them() {
    let [get, set, delete, increment, touch, multi_get, ping, auth, batch] = REQUESTS.map(request);
    let bytes = |text: &'static str| text.into();
    assert_eq!(get, Request { id: u64::MAX, command: Some(Command::Get(message::Get { key: bytes("k") })) });
    let (condition, expected) = (Condition::IfEqual as i32, bytes("e"));
    let wanted = message::Set { key: bytes("k"), value: bytes("v"), ttl_ms: 5, condition, expected, keep_ttl: true };
    assert_eq!(set.command, Some(Command::Set(wanted)));
    assert_eq!(delete.command, Some(Command::Delete(message::Delete { key: bytes("k") })));
    let wanted = message::Increment { key: bytes("k"), by: Some(i64::MIN) };
    assert_eq!(increment.command, Some(Command::Increment(wanted)));
    assert_eq!(touch.command, Some(Command::Touch(message::Touch { key: bytes("k"), ttl_ms: 7 })));
    assert_eq!(ping.command, Some(Command::Ping(message::Ping {})));
    let wanted = message::Auth { password: "p".into(), user: "u".into() };
    assert_eq!(auth.command, Some(Command::Auth(wanted)));
    let Some(Command::MultiGet(mut keys)) = multi_get.command else { panic!("{multi_get:?}") };
    for key in ["a", "", "c"] {
        assert_eq!(message::next_part(&mut keys).unwrap().as_deref(), Some(key.as_bytes()));
    }
    assert_eq!(message::next_part(&mut keys).unwrap(), None);
    let Some(Command::Batch(mut parts)) = batch.command else { panic!("{batch:?}") };
    let ids = std::iter::from_fn(|| message::next_part(&mut parts).unwrap());
    assert_eq!(ids.map(|part| Request::decode(part).unwrap().id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_has_no_value_is_as_the_file_has_it() {
    assert_eq!(request(r#"increment { key: "k" }"#).command, {
        Some(Command::Increment(message::Increment { key: "k".into(), by: None }))
    });
    for (name, condition) in [("ALWAYS", 0), ("IF_ABSENT", 1), ("IF_PRESENT", 2), ("IF_EQUAL", 3)] {
        let Some(Command::Set(set)) = request(&format!("set {{ condition: {name} }}")).command else { panic!() };
        assert_eq!(set.condition, condition);
        assert!(Condition::try_from(condition).is_ok());
    }
    assert!(Condition::try_from(4).is_err());
}

/// Every kind of response, with what writes it.
fn responses() -> Vec<(Output, String)> {
    let written = |write: &dyn Fn(&mut Output)| {
        let mut output = Output::default();
        write(&mut output);
        output
    };
    let (id, long) = (300, "v".repeat(200));
    let elements = written(&|output| {
        answer::element(output, Some(Value::Inline(b"a")));
        answer::element(output, None);
        answer::element(output, Some(Value::Inline(long.as_bytes())));
        answer::element(output, Some(Value::Inline(b"")));
    });
    let mut values = Output::default();
    answer::values(&mut values, id, elements);
    vec![
        (written(&|output| answer::error(output, 0, "ERR no")), r#"error:"ERR no""#.into()),
        (written(&|output| answer::value(output, id, Some(Value::Inline(b"v")))), r#"id:300,value{data:"v"}"#.into()),
        (written(&|output| answer::value(output, id, Some(Value::Inline(b"")))), r#"id:300,value{data:""}"#.into()),
        (written(&|output| answer::value(output, id, None)), "id:300,value{}".into()),
        (written(&|output| answer::done(output, u64::MAX, true)), "id:18446744073709551615,done:true".into()),
        (written(&|output| answer::done(output, id, false)), "id:300,done:false".into()),
        (written(&|output| answer::number(output, id, i64::MIN)), "id:300,number:-9223372036854775808".into()),
        (written(&|output| answer::number(output, 1, 0)), "id:1,number:0".into()),
        (values, format!(r#"id:300,values{{values:[{{data:"a"}},{{}},{{data:"{long}"}},{{data:""}}]}}"#)),
        (written(&|output| output.write(answer::FULL)), r#"error:"ERR max number of clients reached""#.into()),
    ]
}

#[test]
fn responses_are_written_as_the_file_has_them() {
    let descriptor = descriptor("Response");
    for (output, expect) in responses() {
        let bytes = output.into_bytes();
        let mut message = DynamicMessage::new(descriptor.clone());
        message.merge_length_delimited(&bytes[..]).unwrap();
        assert_eq!(message.to_text_format(), expect);
        assert_eq!(message.encode_length_delimited_to_vec(), bytes, "as short as can be, and nothing behind");
    }
    assert!(DynamicMessage::new(descriptor).merge_length_delimited(answer::PROTECTED).is_ok());
}

/// A field that is added to the file has to be added here, too.
#[test]
fn every_field_is_in_these_tests() {
    let requests = REQUESTS.map(str::to_owned).concat();
    let responses = responses().into_iter().map(|(_, text)| text).collect::<String>();
    for message in schema().all_messages() {
        for field in message.fields() {
            let is_message = matches!(field.kind(), Kind::Message(_));
            let shown = format!("{}{}", field.name(), if is_message { "" } else { ":" });
            assert!(requests.contains(&shown) || responses.contains(&shown), "{}", field.full_name());
        }
    }
}
