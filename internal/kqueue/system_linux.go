package kqueue

// GOOS is the system whose kernel the package takes after, where they differ. The
// overlay has another one here if it is asked to.
const GOOS = "freebsd"
