package cache

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

type note struct{ size uint32 }

func TestTheFirstValueStaysUntilItIsForgotten(t *testing.T) {
	c := New[*note](10)
	defer c.StopAllGoroutines()
	if known, ok := c.GetIfPresent("a"); ok || known != nil {
		t.Errorf("an unknown key has %v", known)
	}
	first, second := &note{1}, &note{2}
	for _, step := range []struct {
		value, want *note
		isNew       bool
	}{{first, first, true}, {second, first, false}} {
		if known, isNew := c.SetIfAbsent("a", step.value); known != step.want || isNew != step.isNew {
			t.Errorf("%v, new: %v", known, isNew)
		}
	}
	c.Set("a", second)
	if known, ok := c.GetIfPresent("a"); !ok || known != second {
		t.Errorf("%v, %v", known, ok)
	}
	c.Invalidate("a")
	if _, ok := c.GetIfPresent("a"); ok {
		t.Error("it is still known")
	}
}

func TestTheBoundsHold(t *testing.T) {
	for name, c := range map[string]Cache[*note]{
		"entries": New[*note](100),
		"weight":  Weighted(1000, func(n *note) uint32 { return n.size }),
	} {
		t.Run(name, func(t *testing.T) {
			defer c.StopAllGoroutines()
			for i := range 500 {
				c.Set(strconv.Itoa(i), &note{10})
			}
			if got := c.EstimatedSize(); got == 0 || got > 100 {
				t.Errorf("%d entries are left of 500, 100 should be", got)
			}
			c.InvalidateAll()
			if got := c.EstimatedSize(); got != 0 {
				t.Errorf("%d entries are left", got)
			}
		})
	}
}

func TestEntriesExpireAfterTheirLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Expiring[*note](10, time.Hour)
		defer c.StopAllGoroutines()
		c.Set("a", &note{1})
		time.Sleep(time.Hour / 2)
		if _, ok := c.GetIfPresent("a"); !ok {
			t.Error("forgotten before its time")
		}
		c.Set("b", &note{2})
		time.Sleep(time.Hour/2 + time.Minute) // a read does not prolong it
		if _, ok := c.GetIfPresent("a"); ok {
			t.Error("remembered after its time")
		}
		if _, ok := c.GetIfPresent("b"); !ok {
			t.Error("another entry is forgotten with it")
		}
	})
}
