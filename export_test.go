package paywall

import "time"

// SetClock sets the plugin's clock and returns how to set it back.
func SetClock(c func() time.Time) (restore func()) {
	clock.Store(&c)
	return func() { clock.Store(nil) }
}
