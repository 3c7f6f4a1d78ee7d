//! Which records are printed.

use std::collections::HashSet;

use super::config::{Config, Style};
use crate::error::Result;
use trace_dat::event::{Event, irq};
use trace_dat::filter::Grouping;
use trace_dat::filter::{Filter, Subject};
use trace_dat::{Reader, Record};

/// The records that a [`Config`] chooses, bound to a recording.
pub(super) struct Selection {
    /// The processes whose records are printed; all when `None`.
    pids: Option<HashSet<i32>>,
    /// Only records that match one of these are printed; all when empty.
    include: Vec<Filter>,
    /// Records that match one of these are not printed.
    exclude: Vec<Filter>,
    hide_hardirq: bool,
    hide_softirq: bool,
    /// Whether all records are printed.
    everything: bool,
}

impl Selection {
    /// Fails when a filter does not fit the recording's events.
    pub fn new(reader: &Reader, config: &Config) -> Result<Selection> {
        let named = reader
            .cmdlines()
            .iter()
            .filter(|(_, comm)| config.comms.iter().any(|wanted| wanted.as_bytes() == comm.as_slice()));
        let named = named.map(|(pid, _)| *pid);
        let all = config.pids.is_empty() && config.comms.is_empty();
        let grouping = match config.style {
            Style::Snaptrace => Grouping::AsC,
            Style::TraceCmd31 | Style::TraceCmd33 | Style::TraceCmd34 => Grouping::LeftToRight,
        };
        let compile = |texts: &[String]| -> Result<Vec<Filter>> {
            texts.iter().map(|text| Ok(Filter::compile(text, reader.events(), grouping)?)).collect()
        };
        let (include, exclude) = (compile(&config.include)?, compile(&config.exclude)?);
        let filtered = !include.is_empty() || !exclude.is_empty();
        Ok(Selection {
            everything: all && !filtered && !config.hide_hardirq && !config.hide_softirq,
            pids: (!all).then(|| config.pids.iter().copied().chain(named).collect()),
            include,
            exclude,
            hide_hardirq: config.hide_hardirq,
            hide_softirq: config.hide_softirq,
        })
    }

    /// Whether all records are printed.
    #[inline]
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether a record of a process with this command is printed.
    pub fn wants(&self, reader: &Reader, record: &Record<'_>, event: Option<&Event>, comm: &[u8]) -> bool {
        self.wants_process(reader, record, event) && self.wants_context(reader, record) && {
            let subject = Subject { data: record.data, cpu: record.cpu, time: record.time, comm };
            let any = |filters: &[Filter]| {
                event.is_some_and(|event| {
                    filters.iter().any(|filter| filter.matches(event, subject, reader.context()))
                })
            };
            (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
        }
    }

    /// Whether a record is of a chosen process, or names one in a field `pid` or `next_pid`.
    fn wants_process(&self, reader: &Reader, record: &Record<'_>, event: Option<&Event>) -> bool {
        let Some(wanted) = &self.pids else { return true };
        let order = reader.context().order;
        let told = |name: &str| event?.field(name)?.number(order, record.data);
        let pids = [
            Some(reader.events().pid(order, record.data)),
            told("pid").map(|pid| pid as i32),
            told("next_pid").map(|pid| pid as i32),
        ];
        pids.into_iter().flatten().any(|pid| wanted.contains(&pid))
    }

    fn wants_context(&self, reader: &Reader, record: &Record<'_>) -> bool {
        if !self.hide_hardirq && !self.hide_softirq {
            return true;
        }
        let flags = reader.events().flags(reader.context().order, record.data);
        let hidden =
            self.hide_hardirq && flags & irq::HARD != 0 || self.hide_softirq && flags & irq::SOFT != 0;
        !hidden
    }
}
