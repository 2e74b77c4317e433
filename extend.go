package paywall

import (
	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
)

// longer is the token of what the visitor wants more time of, if that is open.
func (v *visit) longer() *access.Token {
	if !v.params.Has(urlpath.ParamExtend) {
		return nil
	}
	return v.openBy(v.params.Get(urlpath.ParamCheckout))
}

// wantsLonger prepares the sale of more time. Where v.extends is not set afterwards,
// the visitor has been answered.
func (v *visit) wantsLonger(known *access.Token) error {
	purchase, err := v.extendable(known)
	switch {
	case err != nil:
		return v.unreadable(err)
	case purchase == nil:
		return v.redirectToTarget()
	}
	v.extends, v.device = purchase, known.Device
	return nil
}

// extendable is the purchase of a token, if more time for the very same thing is on
// sale; nil if not. The error says that the ledger cannot tell.
func (v *visit) extendable(known *access.Token) (*ledger.Holding, error) {
	sale := v.saleOf(known.Pass)
	if sale == nil || sale.Retired || sale.Downloads > 0 || known.Link != "" {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	purchase, err := v.app.access.Of(v.r.Context(), known.Purchase)
	if err != nil {
		return nil, err
	}
	if !v.sellsMoreOf(sale, purchase) {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	return &purchase, nil
}

// sellsMoreOf reports whether what is on sale is what was bought, and can go on from its
// end.
func (v *visit) sellsMoreOf(sale *sale, bought ledger.Holding) bool {
	resource, err := sale.resource(v.r)
	if err != nil || resource != bought.Resource || bought.StatusAt(now()) != ledger.Active || bought.EndsAt.IsZero() || bought.DownloadLimit > 0 {
		return false
	}
	// Terms that FromMetadata would refuse (an end beyond the year 9999) must not be sold.
	sold := terms.Terms{
		Installation: v.app.keyring.Installation(), Site: bought.Site, Pass: bought.Product, Resource: bought.Resource,
		Price: sale.price, Access: sale.access, Extends: bought.ID, From: bought.EndsAt,
	}
	_, err = terms.Unpriced(sold.Metadata())
	return err == nil
}

// extendedPurchase is the id of the purchase that gets more time.
func (v *visit) extendedPurchase() string {
	if v.extends == nil {
		return ""
	}
	return v.extends.ID
}
