//! Whether the kernel's clock is kept right by somebody: NTP, chrony, timesyncd, PTP.

/// `TIME_ERROR` of `linux/timex.h`; the libc crate has it for glibc only.
const TIME_ERROR: libc::c_int = 5;

/// Whether a time service disciplines the clock; `None`: the kernel doesn't say.
///
/// See `adjtimex(2)`: with no mode set it changes nothing, needs no right, and answers `TIME_ERROR` for a clock that nobody
/// has synchronised since the start of the machine (or for a day).
pub fn is_synchronized() -> Option<bool> {
    // SAFETY: a zeroed timex asks for nothing; the kernel fills it in and keeps no reference to it.
    let state = unsafe {
        let mut asked: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut asked)
    };
    (state >= 0).then_some(state != TIME_ERROR)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        assert!(super::is_synchronized().is_some());
    }
}
