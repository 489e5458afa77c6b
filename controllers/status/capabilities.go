package status

import (
	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func Capabilities(found []v1alpha1.Capability) []storage.Capability {
	var all []storage.Capability
	for _, c := range found {
		all = append(all, storage.Capability{Name: c.Name, Status: storage.Support(c.Status), Message: c.Message})
	}
	return all
}
