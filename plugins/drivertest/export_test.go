package drivertest

import "time"

// SetPatience changes how long the suite waits for what a driver does in its own time.
func SetPatience(d time.Duration) { patience = d }
