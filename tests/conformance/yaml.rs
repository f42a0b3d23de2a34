//! The YAML of the data files, brought to JSON values and so to any type.

use anyhow::{Context, Result, anyhow, bail};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A YAML file as a value.
pub(crate) fn parse<T: DeserializeOwned>(yaml: &str) -> Result<T> {
    let mut parser = Parser::new_from_str(yaml);
    loop {
        if let Event::DocumentStart(_) = next(&mut parser)? {
            let first = next(&mut parser)?;
            return Ok(serde_json::from_value(node(&mut parser, first)?)?);
        }
    }
}

fn node<'a>(parser: &mut Parser<'a, StrInput<'a>>, event: Event<'a>) -> Result<Value> {
    Ok(match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
        Event::Scalar(text, ..) => Value::from(text.as_ref()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser)? {
                    Event::SequenceEnd => break Value::Array(items),
                    event => items.push(node(parser, event)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match next(parser)? {
                    Event::MappingEnd => break Value::Object(map),
                    Event::Scalar(key, ..) => {
                        let event = next(parser)?;
                        let value = node(parser, event)?;
                        if map.insert(key.to_string(), value).is_some() {
                            bail!("key {key:?} stands twice");
                        }
                    }
                    other => bail!("unexpected key {other:?}"),
                }
            }
        }
        other => bail!("unexpected {other:?}"),
    })
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Event<'a>> {
    let (event, _) = parser.next_event().context("the document ends too early")?.map_err(|error| anyhow!("{error}"))?;
    Ok(event)
}
