package paywall

import (
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
)

// longer is the token of what the visitor wants more time of, if that is open.
func (v *visit) longer() *verified {
	if !v.params.Has(paramExtend) {
		return nil
	}
	return v.openBy(v.params.Get(paramCheckout))
}

// wantsLonger prepares the sale of more time. Where v.extends is not set afterwards,
// the visitor has been answered.
func (v *visit) wantsLonger(known *verified) error {
	grant, err := v.extendable(known)
	switch {
	case err != nil:
		return v.unreadable(err)
	case grant == nil:
		return v.arrive()
	}
	v.extends, v.device = grant, known.Device
	return nil
}

// extendable is the purchase of a token, if more time for the very same thing is on
// sale; nil if not. The error says that the ledger cannot tell.
func (v *visit) extendable(known *verified) (*ledger.Grant, error) {
	sale := v.saleOf(known.Pass)
	if sale == nil || sale.Retired || sale.Downloads > 0 || known.link != "" {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	grant, err := v.app.grants.of(v.r.Context(), known.Session)
	if err != nil {
		return nil, err
	}
	extensions, err := v.app.ledger.Extensions(v.r.Context(), grant.Session)
	if err != nil {
		return nil, err
	}
	if extensions >= ledger.MaxExtensions || !v.sellsMoreOf(sale, grant) {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	return &grant, nil
}

// sellsMoreOf reports whether what is on sale is what was bought, and can go on from its
// end.
func (v *visit) sellsMoreOf(sale *sale, grant ledger.Grant) bool {
	resource, err := sale.resource(v.r)
	if err != nil || resource != grant.Terms.Resource || !grant.Open(now()) || grant.Until.IsZero() || grant.Terms.Downloads > 0 {
		return false
	}
	// Terms that FromMetadata would refuse (an overlong id, an end beyond the year 9999)
	// must not be sold.
	sold := grant.Terms
	sold.Extends, sold.From = grant.Session, grant.Until
	_, err = terms.FromMetadata(sold.Metadata())
	return err == nil
}

// extendedSession is the session of the purchase that gets more time.
func (v *visit) extendedSession() string {
	if v.extends == nil {
		return ""
	}
	return v.extends.Session
}
