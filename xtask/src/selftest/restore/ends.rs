//! The ways in which a command is ended; pure.

/// How a command is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It does what it is asked for.
    Success,
    /// It finds a mistake in its arguments.
    OwnError,
    /// The kernel refuses a value half-way.
    Refused,
    /// The command that it runs fails.
    CommandFails,
    /// The command that it is to run does not exist.
    NoCommand,
    /// Ctrl-C.
    Int,
    /// SIGTERM.
    Term,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
    /// SIGKILL while it traces; the cell includes the next call, which restores.
    Kill,
    /// SIGTERM while it sets up.
    TermEarly,
    /// SIGKILL while it sets up; the cell includes the next call, which restores.
    KillEarly,
    /// The disk has no room for its output.
    FullDisk,
    /// A second call of the same command while it runs; then SIGTERM.
    Twice,
}

impl End {
    /// All, in the order of the table's columns.
    pub const ALL: [End; 14] = [
        End::Success,
        End::OwnError,
        End::Refused,
        End::CommandFails,
        End::NoCommand,
        End::Int,
        End::Term,
        End::Hup,
        End::Quit,
        End::Kill,
        End::TermEarly,
        End::KillEarly,
        End::FullDisk,
        End::Twice,
    ];

    /// Its name, short enough for a column.
    pub fn name(self) -> &'static str {
        match self {
            End::Success => "success",
            End::OwnError => "error",
            End::Refused => "refused",
            End::CommandFails => "fails",
            End::NoCommand => "no-cmd",
            End::Int => "INT",
            End::Term => "TERM",
            End::Hup => "HUP",
            End::Quit => "QUIT",
            End::Kill => "KILL",
            End::TermEarly => "TERM-0",
            End::KillEarly => "KILL-0",
            End::FullDisk => "full",
            End::Twice => "twice",
        }
    }

    /// Its name in the guest's script.
    pub fn action(self) -> &'static str {
        match self {
            End::Success
            | End::OwnError
            | End::Refused
            | End::CommandFails
            | End::NoCommand
            | End::FullDisk => "run",
            _ => self.name(),
        }
    }

    /// The command that the program runs.
    pub fn command(self) -> &'static str {
        match self {
            End::CommandFails => "/tmp/fails",
            End::NoCommand => "/no/such/command",
            _ if self.action() == "run" => "/tmp/works",
            _ => "/tmp/lasts",
        }
    }

    /// The expected exit status.
    pub fn code(self) -> i32 {
        match self {
            End::Success | End::Int => 0,
            End::Refused | End::FullDisk => 1,
            End::OwnError => 2,
            End::CommandFails => 3,
            End::NoCommand => 127,
            End::Term | End::TermEarly | End::Twice => 128 + 15,
            End::Hup => 128 + 1,
            End::Quit => 128 + 3,
            End::Kill | End::KillEarly => 128 + 9,
        }
    }

    /// Whether the recorded file has to exist afterwards.
    pub fn leaves_file(self) -> bool {
        !matches!(
            self,
            End::OwnError | End::Refused | End::NoCommand | End::Kill | End::KillEarly | End::FullDisk
        )
    }
}
