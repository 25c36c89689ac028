package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/api/wire"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program", Example: `  pop version -o json`, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := wire.Version{Version: a.Version, Go: runtime.Version()}
			return a.printer().Print(v, output.Rows{Cells: [][]string{{"pop " + v.Version + ", built with " + v.Go}}})
		},
	}
}
