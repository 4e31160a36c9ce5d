using Xunit.Sdk;
using Xunit.v3;

namespace Sbox.Tour.Tests;

/// <summary>Tests in the order of their names, where one makes what the others need.</summary>
public sealed class ByName : ITestCaseOrderer
{
    /// <inheritdoc/>
    public IReadOnlyCollection<TTestCase> OrderTestCases<TTestCase>(IReadOnlyCollection<TTestCase> testCases)
        where TTestCase : notnull, ITestCase => [.. testCases.OrderBy(static each => each.TestCaseDisplayName, StringComparer.Ordinal)];
}
