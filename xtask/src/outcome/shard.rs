//! A shard `I/N` of a run: the pairs of kernel and case, split between machines.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most parts that a run can have.
const MOST: u32 = 9999;

/// Part `index` of `of`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Which part it is, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many parts there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// All parts of the run, this one included.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (1..=self.of).map(move |index| Shard { index, of: self.of })
    }

    /// The range of `count` items that belongs to this part. It is contiguous, so that a part needs few
    /// kernels, and the sizes of parts differ by at most one.
    pub fn share(self, count: usize) -> Range<usize> {
        let until = |parts: u32| parts as usize * count / self.of as usize;
        until(self.index - 1)..until(self.index)
    }
}

/// The whole run.
impl Default for Shard {
    fn default() -> Shard {
        Shard { index: 1, of: 1 }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong = || format!("{text} is no part such as 1/2");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of) = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        match index {
            _ if of > MOST => Err(format!("{text}: {MOST} parts are the most")),
            0 => Err(format!("{text}: parts are counted from 1")),
            index if index > of => Err(format!("{text}: there are only {of} parts")),
            index => Ok(Shard { index, of }),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_one_of_so_many() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard.index(), shard.of(), shard.to_string()), (2, 3, "2/3".into()));
        for wrong in ["", "2", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1/ 2", "1/10000"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_thing_is_in_exactly_one_part_and_parts_are_even(of in 1u32..200, count in 0usize..2000) {
            let parts: Vec<Range<usize>> =
                Shard { index: 1, of }.all().map(|shard| shard.share(count)).collect();
            let all: Vec<usize> = parts.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}
