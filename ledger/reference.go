package ledger

// Reference is the beginning of a purchase's id, by which people name it.
func Reference(purchaseID string) string { return purchaseID[:min(shortReference, len(purchaseID))] }
