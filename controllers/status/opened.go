package status

import (
	"time"

	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Opened is what this process has of a backend: the driver that serves and the
// id in its marker.
type Opened struct {
	Store storage.Backend
	ID    string
	Place string // of Store, as text
	// Problem is what is wrong with the backend as it is declared now; Store may be
	// of an earlier declaration. LastGood is what works in spite of the problem.
	Problem  *declared.Problem
	LastGood LastGood
	// At is when it was last probed.
	At time.Time
	// Prober tries it on demand.
	Prober registrar.Prober
}

// GoesOn says what becomes of bytes while what is declared has the problem.
func GoesOn(p *declared.Problem, last LastGood) string {
	switch {
	case p == nil:
	case last == LastGoodServes:
		return "; the previous credentials stay in use"
	case last == LastGoodFailed:
		return "; the previous credentials no longer work either"
	}
	return ""
}

// LastGood says what becomes of a backend whose declaration does not work, by
// the driver of the last that did.
type LastGood string

const (
	// LastGoodNone: there is no such driver, or it is that of another service.
	LastGoodNone LastGood = ""
	// LastGoodServes: what was declared before differs in credentials alone, and still works.
	LastGoodServes LastGood = "Serves"
	// LastGoodFailed: it differs in credentials alone, and does not work any more either.
	LastGoodFailed LastGood = "Failed"
)
