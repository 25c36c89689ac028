// Package pullhealth serves what a puller has to say of itself: whether it lives, whether it is connected, and its metrics for
// Prometheus.
package pullhealth
