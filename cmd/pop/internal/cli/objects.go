package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// objectCommands returns the commands of all kinds of object.
func (a *app) objectCommands() []*cobra.Command {
	shorts := map[objects.Kind]string{
		objects.Customer:       "Customers: who submits agendas",
		objects.ResourcePool:   "Resource pools: where agendas run",
		objects.Insight:        "Insights: queues of a resource pool, and which agendas they take",
		objects.AgendaTemplate: "Agenda templates: agendas that a payload fills",
	}
	var commands []*cobra.Command
	for _, k := range objects.Kinds() {
		command := group(k.Noun(), shorts[k], fmt.Sprintf("  pop %s list", k.Noun()),
			a.getObjectCommand(k), a.listObjectsCommand(k), a.putObjectCommand(k), a.deleteObjectCommand(k))
		command.AddCommand(a.schedulingCommands(k)...)
		commands = append(commands, command)
	}
	return commands
}

func (a *app) getObjectCommand(k objects.Kind) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a " + k.Noun(), Example: fmt.Sprintf("  pop %s get \"$ID\"", k.Noun()),
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(k),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			o, _, err := k.Get(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if err := a.printer().Print(o.Value, output.Rows{Header: k.Header(), Cells: [][]string{o.Cells}}); err != nil {
				return err
			}
			if template, ok := o.Value.(model.AgendaTemplate); ok && a.format == output.Table {
				return a.printPayloadFields(&template)
			}
			return nil
		},
	}
}

// printPayloadFields prints what a payload for a template may hold.
func (a *app) printPayloadFields(t *model.AgendaTemplate) error {
	fields := t.PayloadFields()
	if len(fields) == 0 {
		return nil
	}
	rows := output.Rows{Header: []string{"", "PAYLOAD", "", "USED BY"}}
	for _, f := range fields {
		needed := "required"
		if f.Optional {
			needed = "optional"
		}
		rows.Add("", cmp.Or(f.Name, "(all of it)"), needed, strings.Join(f.UsedBy, ", "))
	}
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	return a.printer().Rows(rows)
}

func (a *app) listObjectsCommand(k objects.Kind) *cobra.Command {
	var f client.Filter
	cmd := &cobra.Command{
		Use: "list", Short: fmt.Sprintf("List %ss", k.Noun()), Example: fmt.Sprintf("  pop %s list --customer acme", k.Noun()), Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			values, rows := []any{}, output.Rows{Header: k.Header()}
			for o, err := range k.All(cmd.Context(), c, f) {
				if err != nil {
					return err
				}
				values = append(values, o.Value)
				rows.Add(o.Cells...)
			}
			return a.printer().Print(values, rows)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.CustomerID, "customer", "", "only those that this customer owns")
	flags.StringVar(&f.Title, "title", "", "only those with this title")
	flags.StringVar(&f.LinkID, "link", "", "only those with this linkId")
	if k == objects.Customer || k == objects.Insight {
		flags.StringVar(&f.ResourcePoolID, "pool", "", "only those of this resource pool")
	}
	return cmd
}

func (a *app) putObjectCommand(k objects.Kind) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "put -f FILE|-", Short: fmt.Sprintf("Create a %s, or replace the one with its id", k.Noun()),
		Example: fmt.Sprintf("  pop %[1]s put -f %[1]s.yaml", k.Noun()), Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("name the file with -f")
			}
			data, err := a.read(file)
			if err != nil {
				return err
			}
			documents := objects.DecodeManifest(data, k)
			if len(documents) != 1 {
				return fmt.Errorf("%s holds %d objects; put takes one, `pop apply` any number", fileName(file), len(documents))
			}
			if issues := documents[0].Issues; len(issues) > 0 {
				return &model.Error{Kind: model.Invalid, Detail: fmt.Sprintf("%s is not a %s", fileName(file), k.Name()), Issues: issues}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			stored, created, err := k.Put(cmd.Context(), c, documents[0].Object)
			if err != nil {
				return inFile(file, err)
			}
			what := "replaced"
			if created {
				what = "created"
			}
			return a.printer().Print(stored.Value, output.Rows{Cells: [][]string{{fmt.Sprintf("%s %s %s", k.Noun(), stored.ID, what)}}})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the object, YAML or JSON; - for standard input")
	return cmd
}

func (a *app) deleteObjectCommand(k objects.Kind) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a " + k.Noun(), Example: fmt.Sprintf("  pop %s delete \"$ID\"", k.Noun()),
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(k),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := k.Delete(cmd.Context(), c, args[0]); err != nil {
				return err
			}
			a.note("%s %s deleted", k.Noun(), args[0])
			return nil
		},
	}
}

// completeIDs lets a shell complete the ids of the objects that are there.
func (a *app) completeIDs(k objects.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var ids []string
		for o, err := range k.All(cmd.Context(), c, client.Filter{}) {
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			ids = append(ids, o.ID)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
