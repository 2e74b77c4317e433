package ledger

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestASaleIsFoundByEitherId(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	for name, ids := range map[string][2]string{
		"session": {theSession, ""}, "payment": {"", payment1}, "both": {theSession, payment1}, "a session that is not ours": {"another", payment1},
	} {
		sold, err := ledger.Sold(t.Context(), ids[0], ids[1])
		if err != nil || !sameFact(sold, paidFact(t, theSession, payment1)) {
			t.Errorf("%s: %+v, %v", name, sold, err)
		}
	}
	for name, ids := range map[string][2]string{"another session": {"another", ""}, "another payment": {"", "another"}, "neither": {"", ""}} {
		if _, err := ledger.Sold(t.Context(), ids[0], ids[1]); !errors.Is(err, ErrNotPaid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	storage.fail(errors.New("input/output error"), nil)
	if _, err := ledger.Sold(t.Context(), theSession, payment1); err == nil || errors.Is(err, ErrNotPaid) {
		t.Errorf("storage in trouble: %v", err)
	}
}

func TestTheObserverIsToldOfFailuresOnly(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	var told []string
	ledger.Observe(func(operation string, err error) { told = append(told, operation+": "+err.Error()) })

	_, _ = ledger.Grant(t.Context(), theSession) // not there
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	left, leave := context.WithCancel(t.Context())
	leave()
	storage.fail(context.Canceled, nil)
	_, _ = ledger.Grant(left, theSession)
	if len(told) > 0 {
		t.Fatalf("told of %v", told)
	}

	storage.fail(errors.New("input/output error"), nil)
	_, _ = ledger.Grant(t.Context(), theSession)
	storage.fail(nil, errors.New("disk full"))
	_, _ = ledger.Record(t.Context(), paidFact(t, "another", ""))
	if want := []string{"load: input/output error", "store: disk full"}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestTheObserverTellsTimeoutsApart(t *testing.T) {
	storage := newDisk()
	stalled := make(chan struct{})
	storage.onLoad = func(string) error { <-stalled; return nil }
	ledger := New(storage, time.Millisecond)
	var told []error
	ledger.Observe(func(_ string, err error) { told = append(told, err) })
	_, _ = ledger.Grant(t.Context(), theSession)
	close(stalled)
	if len(told) != 1 || !errors.Is(told[0], ErrStorageTimeout) {
		t.Errorf("told %v", told)
	}
}
