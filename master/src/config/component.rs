//! One description of each setting: the struct, its flag, its variable and its line in the pages
//! come from it.
//!
//! ```text
//!   component! { /// heading          ──► struct with Default, for the program
//!       /// unit, effect                  struct of optional flags, for clap: --tail-entries
//!       tail_entries: usize = 1_000_000   list of fields, for the pages
//!   }
//! ```
//!
//! If a flag is more than a name with a value, the parentheses behind the variable tell clap so.
//!
//! Invariant: a setting has one name everywhere; names are unique among all components.
//!
//! Deliberately absent: rules. They are in `validate`.

/// A setting as the pages show it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Lines of text.
    pub(crate) doc: &'static [&'static str],
    pub(crate) default: serde_json::Value,
}

/// Settings that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) heading: &'static str,
    pub(crate) fields: Vec<Field>,
}

macro_rules! component {
    (
        #[doc = $heading:literal]
        $name:ident, $flags:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr, $variable:literal $(, ($($how:tt)+))?; )+
        }
    ) => {
        #[doc = $heading]
        #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $kind, )+
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $( $field: $default, )+ }
            }
        }

        impl $name {
            pub(crate) fn section() -> $crate::config::component::Section {
                let defaults = serde_json::to_value($name::default()).expect("settings are plain values");
                $crate::config::component::Section {
                    heading: $heading.trim_ascii(),
                    fields: vec![ $( $crate::config::component::Field {
                        name: stringify!($field),
                        doc: &[ $($doc),+ ],
                        default: defaults[stringify!($field)].clone(),
                    }, )+ ],
                }
            }
        }

        /// The settings that the command line or the environment sets.
        #[derive(Clone, Debug, Default, serde::Serialize, clap::Args)]
        #[command(next_help_heading = $heading.trim_ascii())]
        pub struct $flags {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $variable, hide_env_values = true)]
                $( #[arg($($how)+)] )?
                #[serde(skip_serializing_if = "Option::is_none")]
                $field: Option<$kind>,
            )+
        }
    };
}

pub(crate) use component;
