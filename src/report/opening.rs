//! Which command trace-cmd shows for a process that the first records tell of.
//!
//! trace-cmd sorts its list of commands when it first looks one up, which it does not for the idle
//! task. What records tell until then joins the list beside what the recording has of the same
//! process, and a binary search decides which of the two is found.

use std::cmp::Ordering;
use std::collections::HashMap;

/// Commands by pid, as trace-cmd finds them: of those told, in their order, before the first look
/// into a list that has `listed` already.
pub(super) fn found(told: &[(i32, Vec<u8>)], listed: &HashMap<i32, Vec<u8>>) -> HashMap<i32, Vec<u8>> {
    // The list grows at its front, and its sorting leaves equals in their order.
    let mut all: Vec<(i32, &Vec<u8>)> = told.iter().rev().map(|(pid, comm)| (*pid, comm)).collect();
    all.extend(listed.iter().map(|(pid, comm)| (*pid, comm)));
    all.sort_by_key(|(pid, _)| *pid);
    let mut found = HashMap::new();
    for (pid, _) in told {
        let (mut low, mut high) = (0, all.len());
        while low < high {
            let middle = (low + high) / 2;
            match pid.cmp(&all[middle].0) {
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
                Ordering::Equal => {
                    found.insert(*pid, all[middle].1.clone());
                    break;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_list_decides() {
        let told = [(7, b"told".to_vec())];
        // 7 told, 7 listed, and 9: the middle is the second.
        let listed = |pids: &[i32]| pids.iter().map(|pid| (*pid, b"listed".to_vec())).collect();
        assert_eq!(found(&told, &listed(&[7, 9]))[&7], b"listed");
        assert_eq!(found(&told, &listed(&[5, 7]))[&7], b"told");
        assert_eq!(found(&told, &listed(&[]))[&7], b"told");
        assert!(found(&[], &listed(&[7])).is_empty());
    }

    #[test]
    fn of_several_told_the_last_stands_first() {
        let told = [(7, b"one".to_vec()), (7, b"two".to_vec())];
        assert_eq!(found(&told, &HashMap::new())[&7], b"one");
        let listed = [(3, b"listed".to_vec())].into();
        assert_eq!(found(&told, &listed)[&7], b"two");
    }
}
