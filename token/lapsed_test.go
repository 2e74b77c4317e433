package token

import (
	"errors"
	"testing"
	"time"
)

func TestATokenThatEndedWithItsAccessMayAskForAnother(t *testing.T) {
	f := newForge(t)
	until := f.clock.now().Add(time.Hour).Unix()
	ended := f.claims().with("until", until)
	for name, test := range map[string]struct {
		claims members
		later  time.Duration
		want   bool
	}{
		"just ended":                 {ended, time.Hour, true},
		"nearly too long ago":        {ended, time.Hour + Lapse - time.Second, true},
		"too long ago":               {ended, time.Hour + Lapse + time.Second, false},
		"not yet":                    {ended, time.Hour - time.Second, false},
		"T3 before its access":       {ended.with("until", until+1), time.Hour + time.Minute, false},
		"T3 after its access":        {ended.with("until", until-1), time.Hour + time.Minute, false},
		"T3 of access without end":   {f.claims(), time.Hour + time.Minute, false},
		"T3 no exp":                  {ended.without("exp"), time.Hour + time.Minute, false},
		"T3 not valid yet":           {ended.with("nbf", until+3600), time.Hour + time.Minute, false},
		"T4 of another site":         {ended.with("aud", []string{"https://other.example"}), time.Hour + time.Minute, false},
		"T4 of another installation": {ended.with("iss", "axra:x"), time.Hour + time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			raw := f.hs(f.hsHeader(), test.claims)
			f.clock.advance(test.later)
			defer f.clock.advance(-test.later)
			access, err := f.keyring.VerifyAccess(raw, site)
			if got := errors.Is(err, ErrLapsed); got != test.want {
				t.Errorf("accepted %v: %v", got, err)
			}
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			if _, err := f.keyring.VerifyAccess(raw, site); err == nil && test.want {
				t.Error("it is still good")
			}
			if test.want && access.Purchase != "p1" {
				t.Errorf("got %+v", access)
			}
		})
	}
}
