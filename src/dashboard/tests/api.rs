//! The description of the interface says what the interface does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::server::site;
use super::*;
use crate::dashboard::pages::api::{described, example, page};
use crate::dashboard::request::{From, Method, Request};
use crate::dashboard::routes::{Answer, Form, ROUTES, Who, answer};
use crate::monitor::event::Kind;

const NETWORK: From = From::Network {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    is_tls: false,
};

#[test]
fn every_route_for_programs_is_described_and_every_description_has_its_route() {
    let routes = ROUTES.iter().filter(|route| {
        route.form == Form::Data && route.method == Method::Get && route.who != Who::Socket
    });
    let routes: BTreeSet<String> = routes.map(|route| route.path.to_owned()).collect();
    let described = described();
    let paths = described["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .keys()
        .map(|path| match path.split_once('{') {
            Some((before, _)) => format!("{before}{{}}"),
            None => path.clone(),
        })
        .collect();
    assert_eq!(routes, described);
}

#[test]
fn every_answer_is_as_it_is_described() {
    let data = Data::new();
    let ledger = ledger(&data.0, 3);
    let site = site(&data.0, &ledger);
    site.monitor.tell(Kind::Disk, "", "It is full.", now());
    let description = described();
    let mut checked = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let content = item["get"]["responses"]["200"]["content"]
            .as_object()
            .unwrap();
        let Some(schema) = content
            .get("application/json")
            .map(|content| &content["schema"])
        else {
            continue;
        };
        let target = example(path, item).replace("{name}", "librarian");
        let Answer::Whole(reply) = answer(&site, &Request::get(&target, NETWORK)) else {
            panic!("{path} is streamed");
        };
        assert_eq!(reply.status, 200, "{target}");
        assert_eq!(reply.content_type, "application/json");
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        let mut wrong = Vec::new();
        compare(&value, schema, &description, path, &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        checked += 1;
    }
    assert!(checked > 5);
}

#[test]
fn the_page_for_programs_names_every_path_and_what_it_takes() {
    let described = described();
    let text = sound(&page(&described, &frame("/api")).into_string());
    for (path, item) in described["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array();
        let names = parameters
            .into_iter()
            .flatten()
            .map(|parameter| &parameter["name"]);
        for told in names.chain([&item["get"]["summary"]]) {
            let told = told.as_str().unwrap();
            assert!(text.contains(told), "{told} is not in\n{text}");
        }
        let path = example(path, item).replace('&', "&amp;");
        assert!(text.contains(&path), "{path} is not in\n{text}");
    }
}

/// As much of JSON Schema as the description uses: type, properties, required, items, enum, $ref.
fn compare(value: &Value, schema: &Value, all: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = all.pointer(reference.trim_start_matches('#')).unwrap();
        return compare(value, target, all, at, wrong);
    }
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: the type {other} is not known here"),
    };
    let types = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: no type but {other}"),
    };
    if !types.into_iter().any(is) {
        wrong.push(format!("{at} is {value}, not {}", schema["type"]));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        wrong.push(format!("{at} is {value}, none of {known:?}"));
    }
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !members.contains_key(name) {
                wrong.push(format!("{at} lacks {name}"));
            }
        }
        for (name, member) in members {
            match properties.get(name) {
                Some(schema) => compare(member, schema, all, &format!("{at}/{name}"), wrong),
                None => wrong.push(format!("{at}/{name} is not described")),
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            compare(item, schema, all, &format!("{at}/{index}"), wrong);
        }
    }
}

#[test]
fn an_answer_that_is_known_is_not_sent_again_and_a_long_one_is_gzipped() {
    let data = Data::new();
    let ledger = ledger(&data.0, 30);
    let site = site(&data.0, &ledger);
    let request = Request {
        takes_gzip: true,
        ..Request::get("/api/v1/photos", NETWORK)
    };
    let fitted = |request: &Request<'_>| match answer(&site, request) {
        Answer::Whole(reply) => reply.fitted(request),
        other => panic!("{other:?}"),
    };
    let plain = fitted(&Request {
        takes_gzip: false,
        ..request
    });
    let gzipped = fitted(&request);
    let header = |reply: &crate::dashboard::reply::Reply, name: &str| {
        let found = reply.extra.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(header(&plain, "Content-Encoding"), None);
    assert_eq!(
        header(&gzipped, "Content-Encoding").as_deref(),
        Some("gzip")
    );
    assert!(gzipped.body.len() * 4 < plain.body.len());
    assert_eq!(unzipped(&gzipped.body), plain.body);
    let tag = header(&plain, "ETag").unwrap();
    assert_eq!(header(&gzipped, "ETag").as_ref(), Some(&tag));
    for known in [
        tag.as_str(),
        "*",
        &format!("\"other\", {tag}"),
        tag.trim_start_matches("W/"),
    ] {
        let again = fitted(&Request {
            if_none_match: Some(known),
            ..request
        });
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
    }
    let other = fitted(&Request {
        if_none_match: Some("\"other\""),
        ..request
    });
    assert_eq!(other.status, 200);
}

/// By the program that everybody has.
fn unzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = gzip.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}
