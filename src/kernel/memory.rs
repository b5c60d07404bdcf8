//! Memory of a small board: few heaps, and what is free goes back to the system.
//!
//! glibc gives each thread a heap of its own and keeps what was freed in it; a service that works in bursts would sit on
//! the memory of its busiest moment. Other C libraries need neither call.

/// Has all threads share two heaps. To be called before there are threads.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt takes two integers and may be called at any time; a refusal leaves things as they were.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

/// Gives free memory back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim locks each heap it works on and touches only what is free.
        unsafe { libc::malloc_trim(0) };
    }
}
