package registrytest_test

import (
	"testing"

	"github.com/coulomb/artifact-store/test/plans"
)

// TestMain also asks the databases how they run what the tests have the product run.
func TestMain(m *testing.M) { plans.Main(m) }
