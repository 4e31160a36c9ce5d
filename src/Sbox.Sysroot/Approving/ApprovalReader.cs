using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>Reads approval policies; sbox-approval.toml(5) is the reference of their keys.</summary>
internal static class ApprovalReader
{
    private const int MostSigners = 100;

    /// <summary>How many of whom.</summary>
    /// <exception cref="ApprovalPolicyException">It says anything else.</exception>
    public static (int Threshold, IReadOnlyList<string> Signers) Read(string file, string text)
    {
        DocumentSyntax document = SyntaxParser.Parse(text, file, validate: true);
        foreach (DiagnosticMessage message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw new ApprovalPolicyException(file, $"line {message.Span.Start.Line + 1}", "TOML", message.Message.TrimEnd('.'));
        }

        if (document.Tables.ChildrenCount > 0)
            throw new ApprovalPolicyException(file, "line 1", "threshold and signers, without tables", "a table");
        long? threshold = null;
        IReadOnlyList<string>? signers = null;
        foreach (KeyValueSyntax item in document.KeyValues)
        {
            switch (item.Key?.ToString().Trim())
            {
                case "threshold":
                    threshold = item.Value is IntegerValueSyntax number ? number.Value : throw new ApprovalPolicyException(file, "threshold", "a number", $"{item.Value}".Trim());
                    break;
                case "signers":
                    signers = Signers(file, item);
                    break;
                case var other:
                    throw new ApprovalPolicyException(file, other ?? "", "threshold or signers", "an unknown key");
            }
        }

        if (signers is null or { Count: 0 })
            throw new ApprovalPolicyException(file, "signers", "a list of key files' names", "none");
        return threshold is { } needed && needed >= 1 && needed <= signers.Count
            ? ((int)needed, signers)
            : throw new ApprovalPolicyException(file, "threshold", $"1 to {signers.Count}, so many signers are named", threshold?.ToString() ?? "nothing");
    }

    private static List<string> Signers(string file, KeyValueSyntax item)
    {
        if (item.Value is not ArraySyntax array)
            throw new ApprovalPolicyException(file, "signers", "a list of strings", $"{item.Value}".Trim());
        var names = new List<string>();
        foreach (ArrayItemSyntax element in array.Items)
        {
            string name = element.Value is StringValueSyntax { Value: { } text } ? text : throw new ApprovalPolicyException(file, "signers", "a list of strings", $"{element.Value}".Trim());
            if (name.Length is 0 or > 100 || name[0] == '.' || name.Any(static letter => !char.IsAsciiLetterOrDigit(letter) && letter is not ('.' or '-' or '_' or '@' or '+')))
                throw new ApprovalPolicyException(file, "signers", $"names of files in {ApprovalPolicy.KeyDirectory}", $"'{name}'");
            if (names.Contains(name))
                throw new ApprovalPolicyException(file, "signers", "each once", $"'{name}' twice"); // one signature must not count as two
            names.Add(name);
        }

        return names.Count <= MostSigners ? names : throw new ApprovalPolicyException(file, "signers", $"at most {MostSigners}", $"{names.Count}");
    }
}
