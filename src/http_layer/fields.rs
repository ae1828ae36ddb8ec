//! What the JSON of a request asks for. All else in it is passed over.

use std::fmt;

use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The fields of a request that are looked at, in the spellings of all APIs.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) model: Option<Box<str>>,
    pub(super) stream: Option<bool>,
    pub(super) has_stream_options: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    asks: u8,
}

/// The fields of which an API has one.
const ASKS: [&[&str]; 4] = [
    &["messages", "message"],
    &["prompt"],
    &["input", "previous_response_id", "conversation"],
    &["texts", "inputs", "images", "text"],
];

/// What a request to an API of some kind must have, unless the server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Messages = 1,
    Prompt = 1 << 1,
    Input = 1 << 2,
    Texts = 1 << 3,
}

impl Fields {
    /// Reads a body; `None` if it is no JSON object.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        Object { fields: &mut fields, is_root: true }.deserialize(&mut json).ok()?;
        Some(fields)
    }

    pub(super) fn has(&self, asks: Asks) -> bool {
        self.asks & asks as u8 != 0
    }
}

/// Reads an object: the whole request, or the settings in it.
struct Object<'a> {
    fields: &'a mut Fields,
    is_root: bool,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.is_root { json.deserialize_map(self) } else { json.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.fields;
        while let Some(key) = map.next_key()? {
            match key {
                Key::Model => fields.model = map.next_value::<Scalar>()?.text.filter(|text| !text.is_empty()),
                Key::Stream => fields.stream = map.next_value::<Scalar>()?.flag,
                Key::StreamOptions => {
                    fields.has_stream_options = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::MaxTokens => {
                    let number = map.next_value::<Scalar>()?.number;
                    fields.max_tokens = number.filter(|number| *number >= 0.0).map(|number| number as u64);
                }
                Key::Temperature => fields.temperature = map.next_value::<Scalar>()?.number,
                Key::TopP => fields.top_p = map.next_value::<Scalar>()?.number,
                Key::Settings if self.is_root => map.next_value_seed(Object { fields, is_root: false })?,
                Key::Asks(bit) => {
                    fields.asks |= bit;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Settings | Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    // Settings that are no object are none.

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// The name of a field.
enum Key {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    Temperature,
    TopP,
    /// What Gemini, Bedrock and Ollama have for the last three.
    Settings,
    /// A bit of [`Asks`].
    Asks(u8),
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    // The second is watsonx's.
                    "model" | "model_id" => Key::Model,
                    "stream" => Key::Stream,
                    "stream_options" => Key::StreamOptions,
                    "max_tokens"
                    | "max_completion_tokens"
                    | "max_output_tokens"
                    | "maxOutputTokens"
                    | "maxTokens"
                    | "max_new_tokens"
                    | "num_predict" => Key::MaxTokens,
                    "temperature" => Key::Temperature,
                    "top_p" | "topP" => Key::TopP,
                    "generationConfig" | "generation_config" | "inferenceConfig" | "options" | "parameters" => {
                        Key::Settings
                    }
                    name => {
                        ASKS.iter().position(|names| names.contains(&name)).map_or(Key::Other, |at| Key::Asks(1 << at))
                    }
                })
            }
        }

        json.deserialize_identifier(Name)
    }
}

/// A text, a flag or a number, or anything else, which is none of them.
#[derive(Default)]
struct Scalar {
    text: Option<Box<str>>,
    flag: Option<bool>,
    number: Option<f64>,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar { text: Some(text.into()), ..Scalar::default() })
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar { flag: Some(flag), ..Scalar::default() })
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                self.visit_f64(number as f64)
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar { number: Some(number), ..Scalar::default() })
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::default())
            }
        }

        json.deserialize_any(Any)
    }
}
