package paywall

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// gateList is what handlers and matchers tell the app while they are provisioned.
type gateList struct {
	mu       sync.Mutex
	all      atomic.Pointer[[]*Handler] // read by matchers on every request
	expected []string                   // passes that matchers name

	isStarted    atomic.Bool
	keepRejected atomic.Bool // a webhook keeps rejected requests
}

// register adds a gate to those that Start checks.
func (a *App) register(gate *Handler) {
	a.gates.mu.Lock()
	defer a.gates.mu.Unlock()
	gates := append(slices.Clone(a.allGates()), gate)
	a.gates.all.Store(&gates)
}

func (a *App) allGates() []*Handler {
	if gates := a.gates.all.Load(); gates != nil {
		return *gates
	}
	return nil
}

// expect makes Start look for gates that sell the passes. Later it does nothing: an
// expression with a placeholder makes a matcher for each request.
func (a *App) expect(passes []string) {
	if a.gates.isStarted.Load() {
		return
	}
	a.gates.mu.Lock()
	defer a.gates.mu.Unlock()
	a.gates.expected = append(a.gates.expected, passes...)
	a.expected = a.gates.expected
}

// definedPasses lists the app's passes for an error.
func (a *App) definedPasses() string {
	if len(a.settings.passes) == 0 {
		return ""
	}
	return " (there are " + strings.Join(slices.Sorted(maps.Keys(a.settings.passes)), ", ") + ")"
}
