//! How a section of the settings file is written down: once, for the parser and for people.

/// A name that the settings file may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The section that it is in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
}

impl Member {
    /// Section and name.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// A section of the settings file: the structure that the parser reads it into, and the table of what may be said in it. Both
/// are made from the same lines, and what is told of a setting is its documentation, so that none can be forgotten.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        #[serde($($container:tt)*)]
        $(#[derive($($derive:ident),*)])?
        pub struct $name:ident in $section:literal {
            $($(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])? pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize $($(, $derive)*)?)]
        #[serde($($container)*)]
        pub struct $name {
            $($(#[doc = $doc])* $(#[serde($($serde)*)])? pub $field: $type,)*
        }

        impl $name {
            /// What may be said in it.
            pub const MEMBERS: &'static [crate::serve::settings::Member] = &[$(crate::serve::settings::Member {
                section: $section,
                name: stringify!($field),
                about: concat!($($doc),*),
            },)*];
        }
    };
}

pub(crate) use section;
