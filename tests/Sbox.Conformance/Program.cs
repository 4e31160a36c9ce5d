using System.Globalization;
using System.Text;
using Sbox.Conformance;
using Sbox.Judges;

// Sbox.Conformance OUR-PROGRAM RESULTS [TEST...]: libostree's tests with our ostree and with the real one, side by side.
if (args is not [var ours, var results, .. var only])
{
    Console.Error.WriteLine("Sbox.Conformance OUR-PROGRAM RESULTS-FILE [TEST...]");
    return 2;
}

string version = Judge.Ostree.Run("--version").Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim();
var text = new StringBuilder();
text.Append(CultureInfo.InvariantCulture, $"# libostree's own tests ({version}), with our ostree and with the real one\n\n");
text.Append(CultureInfo.InvariantCulture, $"Made by `./bench conformance` on {DateTime.UtcNow:yyyy-MM-dd}: the scripts of Debian's ostree-tests, as root, on tmpfs, in the Debian they come from.\n");
text.Append("A script stops at its first failure, so what is counted is how far each comes.\n\n| class | test | ours | real |\n|---|---|---|---|\n");
int whole = 0, control = 0;
foreach ((string kind, string[] tests) in Suite.All)
{
    foreach (string name in tests.Where(name => only.Length == 0 || only.Contains(name)))
    {
        var test = new InstalledTest(name);
        Outcome mine = test.Run(Path.GetFullPath(ours)), real = test.Run(ours: null);
        whole += mine.IsWhole ? 1 : 0;
        control += real.IsWhole ? 1 : 0;
        string row = $"| {kind} | {name} | {Mark(mine)} | {Mark(real)} |";
        text.Append(row).Append('\n');
        Console.Out.WriteLine(row);
        if (only.Length > 0 && real.IsWhole && !mine.IsWhole)
            Console.Error.WriteLine(mine.Log); // of tests that were asked for by name, what there is to be mended
    }
}

string total = $"Whole: {whole} with ours, {control} with the real one.";
text.Append(CultureInfo.InvariantCulture, $"\n{total}\n");
Console.Out.WriteLine(total);
File.WriteAllText(results, text.ToString());
return 0;

static string Mark(Outcome outcome) => outcome.IsWhole ? $"**{outcome}**" : outcome.ToString();
