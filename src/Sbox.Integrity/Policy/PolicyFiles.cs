namespace Sbox.Integrity;

/// <summary>The policy of a machine, from its directories.</summary>
/// <param name="Policy">What to go by.</param>
/// <param name="Files">The files that it comes from, in the order in which they were read.</param>
/// <param name="Refused">Files of the owner's that were left out, whole, with the reason.</param>
public sealed record LoadedPolicy(SentinelPolicy Policy, IReadOnlyList<string> Files, IReadOnlyList<PolicyException> Refused)
{
    /// <summary>The sealed tree's policies.</summary>
    public const string TreeDirectory = "/usr/lib/sbox/sentinel.d";

    /// <summary>The owner's additions.</summary>
    public const string OwnerDirectory = "/etc/sbox/sentinel.d";

    /// <summary>Reads them: the tree's first, each directory in the order of names.</summary>
    /// <exception cref="PolicyException">A file of the tree is wrong. A wrong file of the owner's is left out instead.</exception>
    /// <exception cref="IOException">A file cannot be read, or the tree has none.</exception>
    public static LoadedPolicy Load(string tree = TreeDirectory, string owner = OwnerDirectory)
    {
        var files = new List<string>();
        var refused = new List<PolicyException>();
        var policy = new SentinelPolicy();
        foreach (string file in FilesIn(tree))
        {
            policy = PolicyReader.Read(policy, file, File.ReadAllText(file), PolicyOrigin.Tree);
            files.Add(file);
        }

        if (files.Count == 0)
            throw new FileNotFoundException($"{tree}: no *.toml there: without a policy there is nothing to watch for");
        foreach (string file in FilesIn(owner))
        {
            try
            {
                policy = PolicyReader.Read(policy, file, File.ReadAllText(file), PolicyOrigin.Owner);
                files.Add(file);
            }
            catch (PolicyException mistake)
            {
                refused.Add(mistake); // the sealed policy stands, and the sentinel says what it did not take
            }
        }

        return new LoadedPolicy(policy, files, refused);
    }

    private static IEnumerable<string> FilesIn(string directory) => Directory.Exists(directory)
        ? Directory.GetFiles(directory, "*.toml").Order(StringComparer.Ordinal)
        : [];
}
